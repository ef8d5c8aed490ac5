"""The measurements as text."""

from collections.abc import Iterable, Mapping
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


# The columns that say how a step is computed, where a model has such options.
OPTIONS = {"remat": "remat", "recompute": "recompute", "compute_dtype": "dtype"}


def memory_table(record: Mapping[str, Any]) -> str:
    """What `memory` found, as text."""
    share = record["ways"][0]["share"]
    options = {name: title for name, title in OPTIONS.items() if name in record["ways"][0]}
    titles = _columns(options.values())
    where = f"{record['num_devices']} x {record['device']}" + (
        ", which are not here" if record["card"] else ""
    )
    lines = [
        f"{record['system']}, {record['batch']}, {where}; JAX may use "
        f"{share / 2**30:.1f} GiB of each; jax {record['packages']['jax']}",
        "GiB on one device:",
        f"{titles}{'parameters':>11}{'optimiser':>11}{'activations':>13}{'in all':>9}{'fits':>6}"
        f"{'left':>8}{'largest batch':>15}" + ("" if record["card"] else f"{'peak':>9}"),
    ]
    for row in record["ways"]:
        gib = {name: row[name] / 2**30 for name in ("parameters", "optimizer", "activations", "total")}
        left = f"{1 - row['total'] / share:.0%}" if row["fits"] else "-"
        largest = "-" if row["largest_batch"] is None else row["largest_batch"]
        line = (
            f"{_columns(row[name] for name in options)}{gib['parameters']:>11.3f}"
            f"{gib['optimizer']:>11.3f}{gib['activations']:>13.2f}{gib['total']:>9.2f}"
            f"{'yes' if row['fits'] else 'no':>6}{left:>8}{largest:>15}"
        )
        if not record["card"]:
            line += "        -" if row["peak"] is None else f"{row['peak'] / 2**30:>9.2f}"
        lines.append(line)
    if record["card"]:
        lines += [
            "predicted, at best (the hardware's limits, nothing measured), of one device:",
            f"{titles}{'TFLOP':>8}{'GB moved':>10}{'kernels':>9}{'small':>8}{'ms a step':>11}"
            f"{'of it operations':>18}{'hours':>8}",
        ]
        lines += [
            f"{_columns(row[name] for name in options)}{row['flops'] / 1e12:>8.2f}"
            f"{row['moved_bytes'] / 1e9:>10.1f}{row['num_kernels']:>9}{row['num_small']:>8}"
            f"{1e3 * row['seconds_at_best']:>11.1f}{row['operations_share']:>18.0%}{row['hours_at_best']:>8.2f}"
            for row in record["ways"]
        ]
    return "\n".join(lines)


def _columns(values: Iterable[Any]) -> str:
    return "".join(f"{str(value).lower():<11}" for value in values)
