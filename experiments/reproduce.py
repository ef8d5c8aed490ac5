"""Makes the paper's tables and figures again: trains what is missing, scores it, and prints it beside the paper's.

    python -m experiments.reproduce table3 --budget=tiny
    python -m experiments.reproduce all --budget=small

TARGET is table1, table2, table3, table4, figure3, figure7 or figure8; `all` makes all of them, seed by seed, and one
page; `page` makes that page again from the CSV files in WORKDIR, without training. Every system gets the same steps,
batch, clips and seeds. Budgets: `tiny`, minutes on two CPU cores, shows that everything runs; `small`, some two hours
on two CPU cores for all, with three seeds; `full`, the paper's sizes on CLEVRER, for accelerators. The first two train
on simulated data, and say so everywhere: nothing that is measured there compares with the paper but the order of the
systems.

Runs lie below WORKDIR/BUDGET, each a run folder as train_baseline, finetune_collision and clevrer_vqa make them; tables
share them. With the first two budgets as many are made at a time as there are processors, each with one thread, so that
a run gives the same digits wherever it is made again. Each is a line on stderr; what it says is in log.txt there. The
numbers go to stdout, to BUDGET-TARGET.csv and .png in WORKDIR, with `all` and `page` to BUDGET.md too. The same command
again goes on where it was stopped; what is trained and scored stays, also what stands in the CSV files alone. Table 4
needs no training.
"""

import argparse
import pathlib

import jax

from experiments import command_line
from experiments.reproduction import costs, ledger, page, results, sweep
from experiments.reproduction.budgets import BUDGETS, Entry, plan, select
from experiments.reproduction.comparison import Result
from experiments.reproduction.files import MOST_SEEDS
from experiments.reproduction.targets import TARGETS
from experiments.runs.logs import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this program's options."""
    names = [*TARGETS, "table4", "all", "page"]
    parser.add_argument("target", metavar="TARGET", choices=names, help=", ".join(names))
    parser.add_argument("--budget", choices=BUDGETS, default="tiny", help="(default: %(default)s)")
    parser.add_argument(
        "--data", metavar="NAME/CONFIG", help="to train the models on (default: the budget's)"
    )
    parser.add_argument("--data_dir", default="data", help="where data sets lie (default: %(default)s)")
    parser.add_argument("--seeds", metavar="N", type=int, help="(default: 1 with tiny, otherwise 3)")
    parser.add_argument(
        "--only",
        metavar="RUN",
        help="one run of the table, as 'ODDN, seed 0': prints its scores, writes no table",
    )
    parser.add_argument("--workdir", default="runs/reproduce", help="(default: %(default)s)")
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=int,
        help="runs at a time, each a process with one thread; 0: one by one in this process, with all its threads and "
        "devices (default: 0 for the full budget and with accelerators, otherwise as many as there are processors)",
    )
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


def planned(
    options: argparse.Namespace,
) -> tuple[dict[str, list[Entry]], dict[str, dict[tuple[str, int], Result]], dict[str, list[Entry]]]:
    """By name of the table: its runs, the results of them that are known already, and the runs to make or to score."""
    workdir, budget = pathlib.Path(options.workdir), BUDGETS[options.budget]
    seeds, plans, known = options.seeds or budget.num_seeds, {}, {}
    for name in list(TARGETS) if options.target == "all" else [options.target]:
        file = workdir / f"{options.budget}-{name}.csv"
        held = 0 if options.only else ledger.num_seeds(file)
        plans[name] = plan(
            TARGETS[name], budget, workdir / options.budget, max(seeds, held), options.data, options.data_dir
        )
        known[name] = {} if options.only else ledger.known_results(file, TARGETS[name], plans[name])
    if options.only:
        plans = select(plans, options.only)
    missing = {
        name: [entry for entry in entries if entry.seed < seeds and ledger.is_needed(entry, known[name])]
        for name, entries in plans.items()
    }
    return plans, known, missing


def chosen_jobs(options: argparse.Namespace) -> int:
    """How many runs are made at a time, as `sweep.measure_all` takes it.

    Raises:
        ValueError: there cannot be so many.
    """
    one_by_one = not BUDGETS[options.budget].is_small or jax.default_backend() != "cpu"
    if options.jobs is None:
        return 0 if one_by_one else sweep.default_jobs()
    if options.jobs < 0:
        raise ValueError(f"--jobs must be at least 0, not {options.jobs}")
    if options.jobs and one_by_one:
        raise ValueError(
            f"--jobs={options.jobs}: with the full budget or an accelerator a run needs all there is"
        )
    return options.jobs


def check_options(options: argparse.Namespace) -> None:
    """Raises ValueError for the first option that cannot be, or does not suit the target."""
    if options.seeds is not None and not 1 <= options.seeds <= MOST_SEEDS:
        raise ValueError(f"--seeds must be from 1 to {MOST_SEEDS}, not {options.seeds}")
    if options.data is not None and options.data.count("/") != 1:
        raise ValueError(f"--data {options.data!r} is no NAME/CONFIG of a data set")
    if options.timed_steps < 0:
        raise ValueError(f"--timed_steps must be at least 0, not {options.timed_steps}")
    if options.only and options.target in ("page", "table4"):
        raise ValueError(f"--only={options.only!r}: {options.target} is made of no runs")
    towers = options.data is not None and "block_towers" in options.data.partition("/")[0]
    if options.data is not None and (options.target == "all" or (options.target == "figure8") != towers):
        raise ValueError(
            f"--data={options.data}: figure8 is of block towers, all others are not; name one target that it suits"
        )


def main(options: argparse.Namespace) -> None:
    """Makes the target, and prints it.

    Raises:
        ValueError, FileNotFoundError: an option, the data or a CSV file is unusable; or, at the end, runs have failed.
    """
    check_options(options)
    workdir = pathlib.Path(options.workdir)
    if options.target in ("page", "table4"):
        if options.dry_run:
            print(f"{options.target} needs no training")
        elif options.target == "page":
            print(f"written to {page.write(workdir, options.budget)}")
        else:
            print(results.report_computation(workdir / "table4"))
        return
    jobs, (plans, known, missing) = chosen_jobs(options), planned(options)
    every = [entry for entries in missing.values() for entry in entries]
    made = {name: {(entry.row, entry.seed) for entry in entries} for name, entries in missing.items()}
    num_kept = sum(len(known[name].keys() - made[name]) for name in plans)
    if options.dry_run:
        titles = "\n".join(TARGETS[name].title for name in plans)
        seeds = sorted({entry.seed for entry in every})
        print(
            f"{titles}\nbudget {options.budget}, {results.numbered(seeds) if seeds else 'nothing to train'}"
        )
        print(costs.table(every, options.timed_steps, jobs))
        return
    if num_kept:
        say(f"{num_kept} results stand in the CSV files and have no run here: kept")
    sweep.check_data(missing)
    for name in () if options.only else plans:
        copy = ledger.set_aside(workdir / f"{options.budget}-{name}.csv", plans[name])
        if copy:
            say(f"{name}: the CSV file held results of other recipes, which stay in {copy} alone")
    if options.target == "all" and not options.only:
        results.report_computation(workdir / "table4")
    texts: dict[str, str] = {}
    for found, touched in sweep.measure_all(missing, workdir / options.budget, jobs):
        # After each model, so that who stops early has what there is.
        texts |= results.report_all({name: plans[name] for name in touched or plans}, found, known, options)
    print("\n\n".join(texts[name] for name in [*plans, "page"] if name in texts))
    failed = [line for outcome in found.values() for line in outcome.failed.values()]
    if failed:
        raise ValueError(
            f"{len(failed)} of {len(every)} runs failed, first {failed[0]}; the same command tries them again"
        )


if __name__ == "__main__":
    command_line.run_tool(main, add_arguments)
