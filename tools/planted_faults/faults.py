"""The table of planted faults: one wrong line each, and the test that must fail."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from zipmap_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes:
      about: what would go wrong.
      file: path in the repository.
      right: text that occurs once in the file.
      wrong: its replacement.
      test: file and name of the test that must fail, `tests/test_x.py::test_y`; all parameters.
    """

    about: str
    file: str
    right: str
    wrong: str
    test: str

    def plant(self, root: Path) -> None:
        """Write the fault into a copy of the repository.

        Raises:
          UserError: the right text does not occur exactly once.
        """
        path = root / self.file
        text = path.read_text("utf-8")
        if text.count(self.right) != 1:
            raise UserError(f"{self.file} has {text.count(self.right)} of {self.right!r}, not 1")
        path.write_text(text.replace(self.right, self.wrong), encoding="utf-8")


PROCEDURAL, STEP = "zipmap_jax/train/batches/procedural.py", "zipmap_jax/train/step.py"
OFFLINE, REPORT = "zipmap_jax/inference/offline_program.py", "zipmap_jax/parity/report.py"
BATCH, JOURNAL = "zipmap_jax/batch/run.py", "zipmap_jax/batch/journal.py"
POSE, OPTIONS = "zipmap_jax/eval/metrics/pose.py", "zipmap_jax/cli/options.py"
OF_BATCHES = "tests/train/batches/test_procedural.py"
OF_TERMS, OF_OFFLINE = "tests/losses/test_terms.py", "tests/inference/test_offline_program.py"

FAULTS = (
    Fault(
        "chunks and devices are exchanged: cameras of the wrong views",
        OFFLINE,
        "return np.moveaxis(x, 0, 2).swapaxes(0, 1)",
        "return np.moveaxis(x, 0, 2)",
        f"{OF_OFFLINE}::test_scenes_and_chunks_over_two_devices",
    ),
    Fault(
        "the first view of every chunk is marked as the reference view",
        OFFLINE,
        "first[0, 0, :, 0] = True",
        "first[:, 0, :, 0] = True",
        f"{OF_OFFLINE}::test_result_equals_that_of_one_program",
    ),
    Fault(
        "scenes are drawn again in the next step",
        PROCEDURAL,
        "step * self._config.microbatches + microbatch",
        "step + microbatch",
        f"{OF_BATCHES}::test_no_scene_is_drawn_twice",
    ),
    Fault(
        "all buckets draw from one stream of scenes",
        PROCEDURAL,
        "len(self._config.buckets) + self._config.buckets.index(bucket)",
        "len(self._config.buckets)",
        f"{OF_BATCHES}::test_no_scene_is_drawn_twice",
    ),
    Fault(
        "all microbatches of a step have the same augmentation",
        PROCEDURAL,
        "jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), step), microbatch)",
        "jax.random.fold_in(jax.random.key(seed), step)",
        f"{OF_BATCHES}::test_every_microbatch_has_its_own_augmentation",
    ),
    Fault(
        "a gradient that is not finite is applied if the loss is finite",
        STEP,
        "ok &= jnp.isfinite(norm)",
        "pass",
        "tests/train/test_step.py::test_a_gradient_that_is_not_finite_skips_the_step_although_the_loss_is_finite",
    ),
    Fault(
        "skipped steps delay the learning rate",
        STEP,
        "progress = state.step / steps",
        "progress = (state.step - state.skipped) / steps",
        "tests/train/test_step.py::test_the_learning_rate_follows_all_steps_also_the_skipped_ones",
    ),
    Fault(
        "another epsilon of AdamW",
        "zipmap_jax/train/config/schema.py",
        "eps: float = 1e-8",
        "eps: float = 1e-6",
        "tests/train/config/test_stages.py::test_published_stages_use_the_defaults_of_adamw",
    ),
    Fault(
        "NaN is within every tolerance",
        REPORT,
        "return bool(self.error <= self.tolerance.value)",
        "return not self.error > self.tolerance.value",
        "tests/parity/test_report.py::test_values_that_are_not_finite_are_beyond_any_tolerance",
    ),
    Fault(
        "the largest error is replaced by the root mean square",
        REPORT,
        'if tolerance.criterion == "rms"',
        "if True",
        "tests/parity/test_report.py::test_one_wrong_value_counts_fully_by_max_and_as_a_mean_square_by_rms",
    ),
    Fault(
        "--no-exif does not arrive",
        OPTIONS,
        "            exif=not self.no_exif,\n",
        "",
        "tests/cli/test_batch.py::test_every_option_reaches_the_batch",
    ),
    Fault(
        "--max-views does not arrive",
        OPTIONS,
        "            max_views=self.max_views,\n            strict",
        "            strict",
        "tests/cli/test_run.py::test_options_reach_the_reconstruction",
    ),
    Fault(
        "--conf-threshold does not arrive",
        OPTIONS,
        "ExportOptions(self.conf_threshold, ",
        "ExportOptions(50.0, ",
        "tests/cli/test_run.py::test_options_of_the_files_reach_them",
    ),
    Fault(
        "--ema does not arrive",
        "zipmap_jax/cli/convert.py",
        "            ema=self.ema,\n",
        "",
        "tests/cli/test_convert.py::test_every_option_reaches_the_conversion",
    ),
    Fault(
        "--dtype does not arrive",
        "zipmap_jax/cli/convert.py",
        "            dtype=self.dtype,\n",
        "",
        "tests/cli/test_convert.py::test_every_option_reaches_the_conversion",
    ),
    Fault(
        "--mode does not arrive",
        "zipmap_jax/cli/compile.py",
        "            mode=self.mode,\n",
        "",
        "tests/cli/test_compile.py::test_every_option_reaches_the_buckets",
    ),
    Fault(
        "gradients flow through all iterations of the camera head",
        "zipmap_jax/nn/camera_head.py",
        "fixed = lax.stop_gradient(pose)",
        "fixed = pose",
        "tests/nn/test_camera_head.py::test_no_gradient_flows_from_one_iteration_into_the_previous_one",
    ),
    Fault(
        "the heads of large attention are reversed",
        "zipmap_jax/nn/attention.py",
        "return jnp.moveaxis(y[:, :, 0], 0, 1)",
        "return jnp.moveaxis(y[::-1, :, 0], 0, 1)",
        "tests/nn/test_attention.py::test_one_head_at_a_time_equals_all_heads",
    ),
    Fault(
        "a finished scene with the record of a failure is not mended",
        BATCH,
        'if record is None or record.status != "done":',
        "if record is None:",
        "tests/batch/test_run.py::test_a_finished_folder_counts_more_than_the_record_of_a_failure",
    ),
    Fault(
        "scenes are written at their path before they are complete",
        BATCH,
        "folder = self.journal.working / name",
        "folder = self.journal.out / name",
        "tests/batch/test_run.py::test_a_scene_appears_at_its_path_when_it_is_complete",
    ),
    Fault(
        "a scene whose shape changes loses its chunk",
        BATCH,
        "            chunk=item.bucket.chunk,\n",
        "",
        "tests/batch/test_run.py::test_unreadable_images_may_change_the_shape",
    ),
    Fault(
        "the smaller of both angles counts",
        POSE,
        "np.maximum(self.rotation, self.translation)",
        "np.minimum(self.rotation, self.translation)",
        "tests/eval/metrics/test_pose.py::test_the_larger_of_both_angles_counts_and_a_threshold_itself_is_not_below_it",
    ),
    Fault(
        "an error of exactly the threshold counts",
        POSE,
        "_share(self.rotation < t)",
        "_share(self.rotation <= t)",
        "tests/eval/metrics/test_pose.py::test_the_larger_of_both_angles_counts_and_a_threshold_itself_is_not_below_it",
    ),
    Fault(
        "masked pixels have a part in the depth terms",
        "zipmap_jax/losses/depth.py",
        "selected = mask.reshape(-1)",
        "selected = jnp.ones_like(mask.reshape(-1))",
        f"{OF_TERMS}::test_masked_pixels_have_no_part_in_the_depth_terms",
    ),
    Fault(
        "pairs across the mask have a part in the gradient term",
        "zipmap_jax/losses/depth.py",
        "m[..., :, 1:] & m[..., :, :-1]",
        "m[..., :, 1:]",
        f"{OF_TERMS}::test_masked_pixels_have_no_part_in_the_depth_terms",
    ),
    Fault(
        "normals at depth edges count",
        "zipmap_jax/losses/points.py",
        "usable = target.mask & ~depth_edges(truth[..., 2], None if parity else target.mask)",
        "usable = target.mask",
        f"{OF_TERMS}::test_normals_at_edges_do_not_count",
    ),
    Fault(
        "no gradient flows through the unit of the prediction",
        "zipmap_jax/losses/normalise.py",
        "distance = safe_norm(jnp.where(mask[..., None], points, 0.0))",
        "distance = safe_norm(jax.lax.stop_gradient(jnp.where(mask[..., None], points, 0.0)))",
        f"{OF_TERMS}::test_gradients_flow_through_the_unit_and_not_through_the_alignment",
    ),
    Fault(
        "dotted modules of attacks are compared whole",
        "zipmap_jax/convert/torch_file.py",
        'module.split(".")[0] in',
        "module in",
        "tests/convert/test_torch_file.py::test_unknown_callables_are_not_called",
    ),
    Fault(
        "the aspect ratio of GLB cameras ignores fx",
        "zipmap_jax/export/glb.py",
        '"aspectRatio": float(width / fx * fy / height)',
        '"aspectRatio": width / height',
        "tests/export/test_files.py::test_glb_cameras_are_aligned_with_their_frusta",
    ),
    Fault(
        "short vectors are not raised to the smallest length",
        "zipmap_jax/nn/activations.py",
        "length = jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-8)",
        "length = jnp.linalg.norm(x, axis=-1, keepdims=True)",
        "tests/nn/test_activations.py::test_directions_of_short_vectors_are_finite",
    ),
    Fault(
        "variable frame rates are sampled by number",
        "zipmap_jax/images/video_index.py",
        "sampled_frames(index.times, fps, index.rate)",
        "sampled_frames(np.arange(len(index.times)) / index.rate, fps, index.rate)",
        "tests/images/test_video.py::test_variable_rate_is_sampled_by_time",
    ),
    Fault(
        "a truncated video is used without a word",
        "zipmap_jax/images/video_index.py",
        "times[-1] < 0.7 * stated",
        "times[-1] < 0.0 * stated",
        "tests/images/test_video.py::test_truncated_video_yields_the_frames_before_its_end",
    ),
    Fault(
        "files of a folder are in alphabetical order",
        "zipmap_jax/images/sources.py",
        "images = sorted(_visible(paths, suffixes), key=natural_order)",
        "images = sorted(_visible(paths, suffixes))",
        "tests/images/test_sources.py::test_folder_is_read_in_natural_order",
    ),
    Fault(
        "pictures of 12 bits in numbers of 16 are black",
        "zipmap_jax/images/bit_depth.py",
        "WHITES = (255, 1023, 4095, 16383, 65535)",
        "WHITES = (65535,)",
        "tests/images/test_decode.py::test_ranges_of_fewer_than_16_bits_fill_8_bits",
    ),
    Fault(
        "the intrinsics of reduced images are those of the originals",
        "zipmap_jax/images/frames.py",
        "return NetworkImage(image, pixel_map.reduced(size))",
        "return NetworkImage(image, pixel_map)",
        "tests/inference/test_reconstruct.py::test_a_smaller_output_has_the_same_rays",
    ),
    Fault(
        "reduced images are shifted by a part of a pixel",
        "zipmap_jax/geometry/pixel_map.py",
        "offset_x=(self.offset_x + 0.5) * x - 0.5",
        "offset_x=self.offset_x * x",
        "tests/inference/test_geometry_of_files.py::test_all_files_hold_the_true_points",
    ),
    Fault(
        "reductions are compiled with YNNPACK",
        "zipmap_jax/xla_flags.py",
        "=-reduce",
        "=reduce",
        "tests/test_xla_flags.py::test_reductions_are_compiled_without_ynnpack",
    ),
)
"""All planted faults."""
