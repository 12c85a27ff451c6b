"""Batches of a run: drawn procedurally on the devices, or read by the loader.

`procedural.ProceduralSource` and `recorded.LoadedSource` are sources: `source(step)` is the batch
of a step, the same on any mesh and after a resume. `augment` and `query_split` are the functions
that both apply to every microbatch.
"""
