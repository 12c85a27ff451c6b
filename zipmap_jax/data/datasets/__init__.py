"""Data sets: the table of the published mix, its mixtures, and readers of files.

`table.DATA_SETS` describes the 29 data sets, `mixtures.mixture` returns those of a training stage,
`readers.open_source` opens a source of scenes by name. `posed_folder` reads own recordings and
`procedural` renders scenes.
"""
