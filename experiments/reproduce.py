"""Makes the paper's tables and figures again: trains what is missing, scores it, and prints it beside the paper's.

    python -m experiments.reproduce table3 --budget=tiny

TARGET is table1, table2, table3, table4, figure3, figure7 or figure8. Every system gets the same steps, batch, clips
and seeds. Budgets: `tiny`, minutes on two CPU cores, shows that everything runs; `small`, the quickstart's steps and
three seeds; `full`, the paper's sizes on CLEVRER, for accelerators. The first two train on simulated data, and say so
everywhere: nothing that is measured there compares with the paper but the order of the systems.

Runs lie below WORKDIR/BUDGET, each a run folder as train_baseline, finetune_collision and clevrer_vqa make them; tables
share them. The numbers go to stdout, to BUDGET-TARGET.csv and .png in WORKDIR. The same command again goes on where it
was stopped; what is trained and scored stays. Table 4 needs no training.
"""

import argparse
import pathlib

from experiments import command_line
from experiments.reproduction import costs, results, sweep
from experiments.reproduction.budgets import BUDGETS, plan
from experiments.reproduction.targets import TARGETS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this program's options."""
    parser.add_argument(
        "target", metavar="TARGET", choices=[*TARGETS, "table4"], help=", ".join(TARGETS) + ", table4"
    )
    parser.add_argument("--budget", choices=BUDGETS, default="tiny", help="(default: %(default)s)")
    parser.add_argument(
        "--data", metavar="NAME/CONFIG", help="to train the models on (default: the budget's)"
    )
    parser.add_argument("--data_dir", default="data", help="where data sets lie (default: %(default)s)")
    parser.add_argument("--seeds", metavar="N", type=int, help="(default: 1 with tiny, otherwise 3)")
    parser.add_argument("--workdir", default="runs/reproduce", help="(default: %(default)s)")
    parser.add_argument(
        "--dry_run", action="store_true", help="list the runs and what they would cost; do nothing"
    )
    parser.add_argument(
        "--timed_steps",
        metavar="N",
        type=int,
        default=2,
        help="with --dry_run: steps that are timed of each model without a log (default: %(default)s; 0: none)",
    )


def main(options: argparse.Namespace) -> None:
    """Makes the target, and prints it.

    Raises:
        ValueError, FileNotFoundError: an option or the data is unusable; or, at the end, runs have failed.
    """
    workdir, budget = pathlib.Path(options.workdir), BUDGETS[options.budget]
    if options.seeds is not None and options.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, not {options.seeds}")
    if options.data is not None and options.data.count("/") != 1:
        raise ValueError(f"--data {options.data!r} is no NAME/CONFIG of a data set")
    if options.target == "table4":
        print(
            "table4 needs no training" if options.dry_run else results.report_computation(workdir / "table4")
        )
        return
    target = TARGETS[options.target]
    num_seeds = options.seeds or budget.num_seeds
    folder = workdir / options.budget
    entries = plan(target, budget, folder, num_seeds, options.data, options.data_dir)
    if options.dry_run:
        print(f"{target.title}, budget {options.budget}, {results.numbered(range(num_seeds))}")
        print(costs.table(entries, options.timed_steps))
        return
    sweep.check_data(entries)
    records, failed = sweep.measure_all(entries, target)
    if records:
        output = workdir / f"{options.budget}-{options.target}"
        print(results.report(options.target, options.budget, entries, records, failed, output))
    if failed:
        raise ValueError(
            f"{len(failed)} of {len(entries)} runs failed, first {next(iter(failed.values()))}; the same command tries "
            "them again"
        )


if __name__ == "__main__":
    command_line.run_tool(main, add_arguments)
