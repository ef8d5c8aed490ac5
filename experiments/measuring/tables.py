"""The measurements as text."""

from collections.abc import Mapping
from typing import Any


def table(record: Mapping[str, Any]) -> str:
    """The record as text."""
    lines = [
        f"{record['preset']}: {record['batch_size']} clips of {record['num_frames']} frames, "
        f"{record['compute_dtype']}, remat {record['remat']}, {record['devices']}, jax {record['packages']['jax']}"
    ]
    if "model" in record:
        lines += [
            "",
            f"{'':<16}{'ms':>10}{'images/s':>10}{'GFLOP':>10}{'GFLOP/s':>10}{'ceiling':>9}{'compile s':>11}{'MB':>8}",
        ]
        for name, row in record["model"].items():
            megabytes = "-" if row["bytes"] is None else f"{row['bytes'] / 1e6:.0f}"
            lines.append(
                f"{name:<16}{1e3 * row['seconds']:>10.1f}{row['images_per_second']:>10.1f}{row['gflop']:>10.2f}"
                f"{row['gflop_per_second']:>10.1f}{row['share_of_ceiling']:>9.0%}{row['compile_seconds']:>11.1f}"
                f"{megabytes:>8}"
            )
        best = ", ".join(f"{layout} {rate:.1f}" for layout, rate in record["ceiling"].items())
        peak = "" if record["peak_bytes"] is None else f"; peak {record['peak_bytes'] / 1e9:.2f} GB"
        lines.append(f"ceiling, one convolution forward and backward: {best} GFLOP/s{peak}")
    if "layers" in record:
        choices = [name for name in ("YNNPACK", "Eigen", "used") if name in record["layers"][0]]
        lines += ["", f"{'3x3 convolutions, GFLOP/s':<44}" + "".join(f"{name:>9}" for name in choices)]
        for row in record["layers"]:
            what = f"{row['inputs']} to {row['outputs']} channels, {row['pictures']} pictures, {row['pass']}"
            lines.append(f"{what:<44}" + "".join(f"{row[name]:>9.1f}" for name in choices))
    if "growth" in record:
        lines += ["", "a training step grows with the power of"]
        for name, row in record["growth"].items():
            if name != "once":
                lines.append(
                    f"  {name:<18}{row['exponent']:>6.2f}   (its GFLOP with {row['exponent_of_gflop']:.2f})"
                )
    if "data" in record:
        lines += [
            "",
            *(f"{name.replace('_', ' '):<34}{rate:>10.3g}" for name, rate in record["data"].items()),
        ]
    return "\n".join(lines)
