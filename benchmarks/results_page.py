#!/usr/bin/env python3
"""The tables of docs/results.md, written from the results of the other scripts.

In the page a table stands between ``<!-- table: NAME -->`` and ``<!-- end: NAME -->``. What is
between them is replaced; all other text stays. With ``--check`` nothing is written, and the tables
that differ from their results are named.

    python benchmarks/results_page.py
    python benchmarks/results_page.py --check
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "results.md"

Row = Sequence[str]


def read(name: str) -> Any:
    """Reads the result that is called ``name``."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def decimal(value: float, digits: int = 2) -> str:
    """Writes a number; what rounds to zero has no sign."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def interval(value: Mapping[str, float]) -> str:
    """Writes a value, or a mean with its deviation, and its interval."""
    mean = value["mean"] if "mean" in value else value["value"]
    spread = ""
    if value.get("sd") is not None:
        digits = 2 if value["sd"] >= 0.005 else 3
        spread = f" ± {decimal(value['sd'], digits)}"
    return f"{decimal(mean)}{spread} [{decimal(value['low'])}, {decimal(value['high'])}]"


def signed(value: Mapping[str, float]) -> str:
    """Writes a difference with its sign and its interval."""
    text = interval(value)
    return f"+{text}" if not text.startswith(("-", "0.00")) else text


def mean_and_sd(values: Mapping[str, float], digits: int = 2) -> str:
    """Writes a mean and a standard deviation."""
    return f"{decimal(values['mean'], digits)} ± {decimal(values['sd'], digits)}"


def span(values: Sequence[float], digits: int) -> str:
    """Writes from what to what values go."""
    return f"{decimal(min(values), digits)} to {decimal(max(values), digits)}"


def at_steps(curve: Mapping[str, Sequence[float]], num_steps: int) -> dict[str, float]:
    """The correlation of a curve with its interval, after a number of steps."""
    i = curve["num_steps"].index(num_steps)
    return {"value": curve["spearman"][i], "low": curve["low"][i], "high": curve["high"][i]}


def ranking_live_costs() -> Iterator[Row]:
    """How well scores rank cells of NAS-Bench-201, beside the costs of the network one gets."""
    strategies = read("ranking_live_costs")["strategies"]
    both = [strategies[name] for name in ("FairNAS", "FairNAS, a quarter of the training")]
    combined, window = both[0]["combined"], both[0]["settings"]["tse_window"]
    yield "score", "6.0 million", "TSE minus it", "1.5 million", "TSE minus it"
    known = f"fitted to {combined['num_known']} of the cells, judged on {combined['num_unknown']}"
    means = [decimal(found["combined"]["spearman"]["mean"]) for found in both]
    yield f"all combined, {known}", means[0], "", means[1], ""
    rows = (
        (f"TSE-E, the last {window} of 100 minibatches", "tse_e"),
        ("TSE, and equally TSE-EMA", "tse"),
        ("TSE, B = 10", ""),
        ("TLmini, the last minibatch", "tlmini"),
        ("MACs, and equally params, of the network one gets", "macs"),
        ("MACs and params as the benchmark's tables have them", "benchmark_macs"),
        ("NASWOT", "naswot"),
        ("synflow", "synflow"),
        ("jacob_cov", "jacob_cov"),
        ("validation accuracy after the B steps", "val_acc_after"),
        ("sum of validation losses (SoVL)", "sovl"),
        ("validation accuracy as inherited", "val_acc"),
    )
    for label, name in rows:
        cells: list[str] = []
        for found in both:
            if name:
                lead = found["tse_minus"].get(name)
                cells += [interval(found["scores"][name]["spearman"]), signed(lead) if lead else ""]
            else:
                cells += [decimal(at_steps(found["curves"]["tse"], 10)["value"]), ""]
        yield (label, *cells)
    tops = [
        decimal(found["scores"][name]["top_10_mean"]["mean"], 1)
        for found in both
        for name in ("tse", "macs")
    ]
    yield (
        "mean truth of the ten best by TSE, by MACs",
        f"{tops[0]}, {tops[1]}",
        "",
        f"{tops[2]}, {tops[3]}",
        "",
    )


def ranking_strategies() -> Iterator[Row]:
    """How well scores rank cells after each of the TSE paper's three ways of training."""
    strategies = read("ranking_strategies")["strategies"]
    strategies_shown = ("RandNAS", "FairNAS", "MultiPaths")
    found = [strategies[name] for name in strategies_shown]
    yield "score", *strategies_shown

    def score(one: Any, name: str) -> str:
        paper = one["scores"][name]["paper"]
        published = f" ({decimal(paper['spearman'][0])})" if paper else ""
        return interval(one["scores"][name]["spearman"]) + published

    def mean(one: Any, name: str) -> str:
        return decimal(one["scores"][name]["spearman"]["mean"])

    settings = found[0]["settings"]
    window = settings["tse_window"]
    epochs = decimal(window / settings["epoch_minibatches"])
    for label, name in (
        ("TSE, and equally TSE-EMA", "tse"),
        (f"TSE-E, the last {window} of 100 minibatches ({epochs} epochs)", "tse_e"),
        ("TLmini, the last minibatch", "tlmini"),
        ("validation accuracy after the B steps", "val_acc_after"),
        ("validation accuracy as inherited", "val_acc"),
        ("sum of validation losses (SoVL)", "sovl"),
        ("MACs, and equally params, of the network one gets", "macs"),
    ):
        yield label, *(score(one, name) for one in found)
    proxies = ("snip", "grad_norm", "fisher", "grasp")
    means_of = (", ".join(mean(one, name) for name in proxies) for one in found)
    yield ", ".join(proxies), *means_of
    combined = [one["combined"] for one in found]
    known = f"fitted to {combined[0]['num_known']} of the cells"
    means = (decimal(one["spearman"]["mean"]) for one in combined)
    yield f"all combined, {known}, judged on {combined[0]['num_unknown']}", *means
    for label, name in (
        ("TSE minus validation accuracy after the steps", "val_acc_after"),
        ("TSE minus these MACs", "macs"),
        ("TSE minus the benchmark's MACs", "benchmark_macs"),
    ):
        yield label, *(signed(one["tse_minus"][name]) for one in found)
    longer = read("ranking_strategies_benchmark_costs")["strategies"]
    label = "TSE in the earlier measurement, after 6.0 million"
    yield label, *(interval(longer[name]["scores"]["tse"]["spearman"]) for name in strategies_shown)


def ranking_spaces() -> Iterator[Row]:
    """How well scores rank subnets of the other spaces."""
    strategies = read("ranking_spaces")["strategies"]
    found = [strategies[name] for name in ("NASNet", "MobileNetV3")]
    yield "score", "NASNet", "MobileNetV3"

    def of(names: Sequence[str], *, short: bool) -> list[str]:
        write: Callable[[Any], str] = (lambda s: decimal(s["mean"])) if short else interval
        return [", ".join(write(one["scores"][n]["spearman"]) for n in names) for one in found]

    yield "TSE, B = 100", *of(["tse"], short=False)
    yield "TSE, B = 5", *(interval(at_steps(one["curves"]["tse"], 5)) for one in found)
    yield "TLmini (and TSE-E of one minibatch)", *of(["tlmini"], short=False)
    yield "validation accuracy as inherited", *of(["val_acc"], short=False)
    yield "validation accuracy after the B steps", *of(["val_acc_after"], short=False)
    yield "sum of validation losses (SoVL)", *of(["sovl"], short=False)
    yield "MACs, params", *of(["macs", "params"], short=False)
    proxies = ["naswot", "synflow", "jacob_cov"]
    yield "NASWOT, synflow, jacob_cov", *of(proxies, short=True)
    proxies = ["grasp", "snip", "grad_norm", "fisher"]
    yield ", ".join(proxies), *of(proxies, short=True)


def zero_cost() -> Iterator[Row]:
    """How well zero-cost proxies rank the cells of NAS-Bench-201 at full size."""
    found = read("zero_cost_nasbench201")
    yield (
        "proxy",
        *("CIFAR-10, unique", "all", "published"),
        *("CIFAR-100, unique", "all", "published"),
    )
    rows = (
        ("synflow", "synflow"),
        ("jacob_cov", "jacob_cov"),
        ("NASWOT", "naswot"),
        ("grad_norm", "grad_norm"),
        ("snip", "snip"),
        ("fisher", "fisher"),
        ("params, and equally MACs", "params"),
        ("the same as the benchmark counts them", "benchmark_params"),
    )
    for label, name in rows:
        cells = []
        for column in ("cifar10_test_acc_200ep", "cifar100_test_acc_200ep"):
            unique, every = (
                found[part][column][name] for part in ("spearman", "spearman_of_all_cells")
            )
            published = decimal(unique["published"]) if "published" in unique else ""
            cells += [decimal(unique["value"]), decimal(every["value"]), published]
        yield label, *cells


def from_scratch() -> Iterator[Row]:
    """How early the end of a training can be told from its curve."""
    (found,) = read("ranking_from_scratch")["strategies"].values()
    epochs, curves = found["early"]["epochs"], found["early"]["spearman"]
    yield "epoch", *map(str, epochs)
    rows = (
        ("TSE, and equally TSE-EMA", "TSE"),
        ("TSE-E, of the last epoch", "TSE-E"),
        ("validation accuracy", "VAccES"),
        ("LcSVR", "LcSVR"),
    )
    for label, name in rows:
        yield label, *("" if value is None else decimal(value) for value in curves[name])


def search_nasbench201() -> Iterator[Row]:
    """Queries until the best cell of NAS-Bench-201 is asked for."""
    tasks = read("search_nasbench201")["tasks"]
    yield "algorithm", "CIFAR-10", "CIFAR-100", "noise", "12 epochs"
    columns = (
        ("cifar10",),
        ("cifar100",),
        ("cifar10-noise", "cifar100-noise"),
        ("cifar10-early", "cifar100-early"),
    )
    rows = (
        ("`structural-bo`", "structural-bo", ""),
        ("`structural-bo`, batches of 10", "structural-bo", "-batches"),
        ("`proxybo` with snip, synflow, jacob_cov", "proxybo:proxies=snip+synflow+jacob_cov", ""),
        ("`weaknas`, Gaussian process", "weaknas:predictor=gaussian_process", ""),
        ("`weaknas`, MLP", "weaknas", ""),
        ("`weaknas`, boosting", "weaknas:predictor=gradient_boosting", ""),
        ("`weaknas`, random forest", "weaknas:predictor=random_forest", ""),
        ("`local-search`", "local-search", ""),
        ("`tpe`", "tpe", ""),
        (
            "`regularized-evolution`, population 20",
            "regularized-evolution:population_size=20,tournament_size=10",
            "",
        ),
        ("`regularized-evolution`", "regularized-evolution", ""),
        ("`evolution`", "evolution", ""),
        ("`bo`", "bo", ""),
        ("`neural-predictor`", "neural-predictor", ""),
    )
    for label, name, suffix in rows:
        found = [
            [
                tasks[f"{task}{suffix}"][name]
                for task in each
                if name in tasks.get(task + suffix, {})
            ]
            for each in columns
        ]
        runs = dict.fromkeys(str(one["runs"]) for each in found for one in each)
        yield f"{label} ({'; '.join(runs)})", *(", ".join(map(_queries, each)) for each in found)
    # 15,625 cells, of which two are equally the best on CIFAR-10, asked for in random order.
    yield "`random`, exactly", f"{15_626 / 3:,.0f}", f"{15_626 / 2:,.0f}", "", ""


def search_nasbench_macro() -> Iterator[Row]:
    """Queries until the best network of NAS-Bench-Macro is asked for."""
    result = read("search_nasbench_macro")
    (task,) = result["tasks"].values()
    yield "algorithm", "queries", "most", "points short after 50", "asked again"
    rows = (
        ("`structural-bo`", "structural-bo"),
        ("`local-search`", "local-search"),
        ("Optuna's `GPSampler`", "optuna-gp:deterministic_objective=true"),
        (
            "`regularized-evolution`, population 20",
            "regularized-evolution:population_size=20,tournament_size=10",
        ),
        ("`tpe`", "tpe"),
        ("`regularized-evolution`", "regularized-evolution"),
        ("Optuna's `TPESampler`", "optuna-tpe"),
        ("Optuna's `TPESampler`, one decision at a time", "optuna-tpe:multivariate=false"),
        ("Optuna's `NSGAIISampler`", "optuna-nsga2"),
        ("`random`", "random"),
    )
    for label, name in rows:
        found = task[name]
        queries = found["queries"]
        if found["not_found"]:
            text = f"at least {decimal(queries['mean_at_least'], 0)}"
            most = f"{found['not_found']} of {found['runs']} not in {found['most_queries']}"
        else:
            text, most = _queries(found), f"{queries['max']:,}"
        repeats = decimal(found["repeats_per_run"], 0) if name.startswith("optuna") else ""
        if found["runs"] != 20:
            label += f" ({found['runs']} searches)"
        yield label, text, most, decimal(found["regret"]["50"]["mean"]), repeats
    yield "`random`, exactly", f"{result['random_exactly']:,.0f}", "", "", ""


def _queries(found: Mapping[str, Any]) -> str:
    missed = f"{found['not_found']} not" if found["not_found"] else ""
    if missed and found["most_queries"] < 1000:
        missed += f" of {found['most_queries']}"
    if found["not_found"] > found["runs"] / 2:
        return missed
    queries = found["queries"]
    digits = 1 if queries["mean"] < 30 else 0
    text = f"{decimal(queries['mean'], digits)} ± {decimal(queries['standard_error'], digits)}"
    return f"{text} ({missed})" if missed else text


def neural_predictor() -> Iterator[Row]:
    """How well predictors rank cells that they were not fitted to."""
    results = read("neural_predictor_nasbench201")["results"]
    yield "predictor", "one stage", "best tenth", "two stages", "best tenth"
    rows = (
        ("Gaussian process of `structural-bo`", "gaussian_process"),
        ("one MLP of WeakNAS's size", "mlp"),
        ("small MLPs", "mlp_ensemble"),
        ("boosting", "gradient_boosting"),
        ("random forest", "random_forest"),
        ("graph network", "gcn"),
    )
    for label, name in rows:
        found = [results[f"{name}, {stages}"] for stages in ("one stage", "two stages")]
        taus = ("kendall_tau", "kendall_tau_of_best_tenth")
        yield label, *(decimal(one[tau]["mean"]) for one in found for tau in taus)


def search_accel_nasbench() -> Iterator[Row]:
    """Queries until the best listed network of Accel-NASBench is asked for."""
    result = read("search_accel_nasbench")
    (task,) = result["tasks"].values()
    yield "algorithm", "searches", "queries", "most", "points short after 50"
    for name, found in sorted(task.items(), key=lambda each: each[1]["queries"]["mean"]):
        label, _, options = name.partition(":")
        label = f"`{label}`" + (", population 20" if options else "")
        most, short = f"{found['queries']['max']:,}", decimal(found["regret"]["50"]["mean"])
        yield label, str(found["runs"]), _queries(found), most, short
    yield "`random`, exactly", "", f"{result['random_exactly']:,.0f}", "", ""


def predictors_accel_nasbench() -> Iterator[Row]:
    """How well predictors of ImageNet accuracy rank networks that they were not fitted to."""
    result = read("predictors_accel_nasbench")
    yield "", "splits", "all others", "more than parameters", "best tenth"
    labels = {
        "gaussian_process": "Gaussian process of `structural-bo`",
        "mlp": "one MLP of WeakNAS's size",
        "mlp_ensemble": "small MLPs",
        "gradient_boosting": "boosting",
        "random_forest": "random forest",
        "gcn": "graph network",
        "params": "parameters alone",
        "macs": "live multiply-accumulates alone",
    }
    found = {name: each for name, each in result["results"].items() if name in labels}
    for name in sorted(found, key=lambda each: -found[each]["kendall_tau"]["mean"]):
        tau, best = found[name]["kendall_tau"], found[name]["kendall_tau_of_best_tenth"]
        more = result["more_than_params"].get(name)
        yield (
            labels[name],
            str(tau["splits"]),
            interval(tau),
            signed(more["kendall_tau"]) if more else "",
            interval(best),
        )


def mlp_quality() -> Iterator[Row]:
    """How predictor ``mlp`` ranks beside one network of WeakNAS's size."""
    labels = {
        "nasbench201 cifar10": "NAS-Bench-201, CIFAR-10",
        "nasbench201 cifar100": "NAS-Bench-201, CIFAR-100",
        "accel-nasbench imagenet": "Accel-NASBench",
    }
    yield (
        *("", "trials", "splits", "Kendall's tau of `mlp`", "more than the large one"),
        *("of the best tenth", "share of the best 100", "CPU seconds, large / `mlp`"),
    )
    tables = read("mlp_quality")["tables"]
    for table, label in labels.items():
        for num_train, found in tables.get(table, {}).items():
            yield (
                *(label, f"{int(num_train):,}", str(found["splits"])),
                decimal(found["kendall_tau"]["mlp"]),
                *(
                    signed(found[metric]["more"])
                    for metric in ("kendall_tau", "kendall_tau_of_best_tenth", "share_of_best_100")
                ),
                decimal(found["median_cpu_seconds"]["ratio"], 1),
            )


def ask_seconds_weaknas() -> Iterator[Row]:
    """CPU seconds of an ask of WeakNAS, before and now."""
    result = read("ask_seconds_weaknas")["cpu_seconds"]
    searches = {"weaknas": "MLP", "weaknas:random_forest": "random forest"}
    spaces = {"nasbench201": "15,625 cells", "mobilenetv3": "a pool of 10,000 of MobileNetV3"}
    numbers = list(result["nasbench201"]["weaknas"])
    yield "", *(f"{int(number):,} trials" for number in numbers)
    for search, predictor in searches.items():
        for space, label in spaces.items():
            found = result[space].get(search)
            if found:
                yield (
                    f"{predictor}, {label}",
                    *(
                        f"{decimal(found[n]['now'], 1)} ({decimal(found[n]['before'], 1)})"
                        for n in numbers
                    ),
                )


def differentiable_nasbench201() -> Iterator[Row]:
    """The cells that searches by gradients end with, by their true accuracy."""
    found = read("differentiable_nasbench201")
    yield (
        *("", "epochs", "at the end", "with `--exclude-none`"),
        *("worst of the second half, likewise", "the paper"),
    )
    column = "cifar10_test_acc_200ep"
    for name in ("darts", "darts-tse", "drnas", "drnas-tse"):
        runs = sorted(
            (run for run in found["runs"] if run["algorithm"] == name),
            key=lambda run: run["seed"],
        )
        curves = [
            [run[f"accuracy_by_epoch{suffix}"][column] for run in runs]
            for suffix in ("", "_without_none")
        ]
        ends = [", ".join(decimal(c[-1]) for c in each) for each in curves]
        worst = ", ".join(decimal(min(c[len(c) // 2 :])) for c in curves[1])
        paper = found["published"].get(name)
        yield name, str(runs[0]["epochs"]), *ends, worst, decimal(paper) if paper else ""


def differentiable_retrain() -> Iterator[Row]:
    """Trainings from scratch of a cell that a short search found, and of random ones."""
    trainings = read("differentiable_retrain")["trainings"]
    yield "what was trained", "test accuracy", "parameters"
    rows = (
        ("the cell found, two seeds", "found"),
        ("three random cells", "random"),
        ("of 100 random cells the one with the most parameters", "heaviest-random"),
    )
    for label, name in rows:
        each = trainings[name]
        sizes = dict.fromkeys(each["params"])  # two trainings of one cell have one size
        yield (
            label,
            ", ".join(decimal(value) for value in each["test_top1"]),
            ", ".join(f"{size:,}" for size in sizes),
        )


def mobilenetv3_cifar10() -> Iterator[Row]:
    """What searches of elastic MobileNetV3 found, trained from scratch."""
    methods = read("mobilenetv3_cifar10")["methods"]
    yield "what was trained", "test accuracy, mean ± sd", "each", "MMACs"
    rows = (
        ("WeakNAS with TSE, the best of each of 3 searches", "weaknas-tse"),
        ("WeakNAS with validation accuracy, likewise", "weaknas-val_acc"),
        ("best of 100 random by TSE", "random-tse"),
        ("best of 100 random by validation accuracy", "random-val_acc"),
    )
    for label, name in rows:
        found = methods[name]
        each = ", ".join(decimal(value, 1) for value in found["test_top1"])
        yield label, mean_and_sd(found), each, span([macs / 1e6 for macs in found["macs"]], 2)


def nasnet_cifar10() -> Iterator[Row]:
    """What searches of NASNet cells found, trained from scratch."""
    found = read("nasnet_cifar10")
    yield (
        *("method", "test accuracy, mean ± sd", "each"),
        "best scores (TSE of B = 10 negated, or percent)",
        *("MMACs", "seconds a search"),
    )
    rows = (
        ("WeakNAS with TSE", "weaknas-tse"),
        ("WeakNAS with validation accuracy", "weaknas-val_acc"),
        ("evolution with TSE", "evolution-tse"),
        ("evolution with validation accuracy", "evolution-val_acc"),
        ("best of 40 random by TSE", "random-tse"),
        ("best of 40 random by validation accuracy", "random-val_acc"),
        ("10 random cells as they come", "any-random"),
    )
    for label, name in rows:
        method = found["methods"][name]
        searches = [run for key, run in found["searches"].items() if key.startswith(f"{name}-")]
        digits = 2 if name.endswith("tse") else 1
        seconds = [run["estimation_seconds"] for run in searches]
        yield (
            label,
            mean_and_sd(method),
            ", ".join(decimal(value, 1) for value in method["test_top1"]),
            ", ".join(decimal(run["best"]["score"], digits) for run in searches),
            span([macs / 1e6 for macs in method["macs"]], 1),
            decimal(sum(seconds) / len(seconds), 0) if seconds else "0",
        )


def vit_parity() -> Iterator[Row]:
    """Counts, logits and the time of a step of elastic Vision Transformers, beside timm's."""
    result = read("vit_parity")
    yield (
        "`--preset`",
        "million parameters",
        "MMACs",
        "equal counts",
        "logits, timm by arguments",
        "logits, extracted",
        "step / static step",
    )
    for preset in ("tiny", "small", "base", "cifar"):
        found = result[preset]
        params, macs = (
            " to ".join(f"{value:,}" for value in found[f"{name}_smallest_largest"])
            for name in ("mega_params", "mega_macs")
        )
        equal = min(found["num_equal_parameters"], found["num_equal_macs"])
        ratio = found.get("path_over_static")
        yield (
            f"`{preset}`, {found['images'][1]} px",
            params,
            macs,
            f"{equal} of {found['num_subnets']}",
            f"{found['max_error_timm_by_arguments']:g} ({found['num_timm_by_arguments']})",
            f"{found['max_error_extracted']:g} ({found['num_extracted']})",
            decimal(ratio) if ratio is not None else "",
        )


def model_optimizer_peer() -> Iterator[Row]:
    """What marks and Model-Optimizer make of the same network of timm."""
    results = read("model_optimizer_peer")["results"]
    each = results["paceline"], results["nvidia-modelopt"]
    yield "", "marks", f"Model-Optimizer {each[1]['version']}"

    def row(label: str, cell: Callable[[Mapping[str, Any]], str]) -> Row:
        return label, *map(cell, each)

    yield row("lines of a user's", lambda found: str(found["lines_of_user_code"]))
    yield row("decisions", lambda found: str(found["decisions"]))
    yield row("subnets", lambda found: f"{found['subnets']:,}")
    yield row("parameters, millions", lambda found: span([n / 1e6 for n in found["params"]], 1))
    yield row(
        "paths with the bits of the subnet taken out",
        lambda found: f"{found['equal_bits']} of {found['compared']}",
    )
    yield row(
        "that is read without the package",
        lambda found: "yes" if found["subnet_loads_without_the_package"] else "no",
    )
    yield row(
        "step along a path / step of the subnet alone",
        lambda found: "{} ({} to {})".format(
            *(decimal(found["step_ratio"][key]) for key in ("median", "min", "max"))
        ),
    )


def kernels() -> Iterator[Row]:
    """What the kernels for a CPU make of steps and queries, by space."""
    yield (
        "space",
        "step without / with",
        "TSE query, likewise",
        "step in float32 without / in bfloat16 without, with",
        "TSE query, likewise",
        "error of the gradient in float32 without, with",
        "in bfloat16",
        "memory with / without",
    )
    for name, found in read("kernels")["results"].items():
        errors, memory = found["gradient_error"], found["peak_memory_mb"]
        ratios = found["step"]["ratios"]

        def half(what: str, found: Any = found) -> str:
            both = (found[what].get(f"ratio_{choice}_bfloat16") for choice in ("off", "auto"))
            return ", ".join(decimal(each) for each in both if each is not None)

        yield (
            name,
            f"{decimal(found['step']['ratio'])} ({decimal(min(ratios))} to {decimal(max(ratios))})",
            decimal(found["tse_query"]["ratio"]),
            half("step"),
            half("tse_query"),
            f"{errors['off']:.1e}, {errors['auto']:.1e}",
            ", ".join(f"{error:.1e}" for name, error in errors.items() if "bfloat16" in name),
            decimal(memory["auto"] / memory["off"]),
        )


def compiled() -> Iterator[Row]:
    """What compiled blocks make of a network's step on a CPU, and after how many they pay."""
    yield (
        "network",
        "compiling, CPU s",
        "step as it is without kernels, with, CPU s",
        "step compiled, likewise",
        "pays after steps, likewise",
        "error of the gradient as it is, compiled",
    )
    for name, found in read("compile")["results"].items():
        cpu, errors = found["step_cpu_seconds"], found["error"]
        steps = found["break_even_steps_without_kernels"], found["break_even_steps"]
        yield (
            name,
            f"{found['compile_cpu_seconds']:.0f}",
            f"{decimal(cpu['eager_off'], 3)}, {decimal(cpu['eager'], 3)}",
            f"{decimal(cpu['compiled_off'], 3)}, {decimal(cpu['compiled'], 3)}",
            ", ".join("never" if each is None else f"{each:,.0f}" for each in steps),
            f"{errors['eager']['gradient']:.1e}, {errors['compiled']['gradient']:.1e}",
        )


def peers_speed() -> Iterator[Row]:
    """How many times ours other packages' steps and queries take."""
    layouts = {"as it is": "", "in channels_last": " in channels_last"}
    kinds = {"without kernels": "ours without kernels", "float32": "ours"}
    kinds["bfloat16"] = "ours in bfloat16"
    yield ("case", "package", *(f"{layout}, ours {kind}" for layout in layouts for kind in kinds))
    for name, found in read("peers_speed")["results"].items():
        ratios = found["ratios"]
        package = next(iter(ratios)).split()[0]
        pairs = (
            f"{package}{layout} / {kind}" for layout in layouts.values() for kind in kinds.values()
        )
        yield (name, package, *(decimal(ratios[pair]) if pair in ratios else "" for pair in pairs))


def ladder() -> Iterator[Row]:
    """How reduced trainings rank cells, per second."""
    yield "training", "mean s", "top", "all 36", "TSE, top", "TSE, all 36"
    result = read("ladder_nasbench201")

    def both(found: dict[str, Any], score: str) -> tuple[str, str]:
        parts = [found[score][part] for part in ("top", "all")]
        shown = (
            f"{p['spearman']:.2f} ({p['interval'][0]:.2f}, {p['interval'][1]:.2f})" for p in parts
        )
        first, second = shown
        return first, second

    for name, setting in result["settings"].items():
        sizes, last = setting["size"], setting["epochs"]
        words = (
            f"N = {sizes['cells_per_stage']}, C = {sizes['channels']}, {setting['image_size']} px, "
            f"{setting['num_train']:,} images, {last} epoch{'s' if last > 1 else ''} (`{name}`)"
        )
        found = setting["agreement"]
        accuracy, speed = both(found, f"val_loss@{last}"), both(found, f"tse@{last}")
        yield words, f"{setting['mean_seconds']:.0f}", *accuracy, *speed
    for name, found in result["pairs"].items():
        seconds = sum(result["settings"][each]["mean_seconds"] for each in name.split(" and "))
        shown = both(found, "val_loss of both")
        yield (
            f"ranks by `{name.replace(' and ', '` and `')}` added",
            f"{seconds:.0f}",
            *shown,
            "",
            "",
        )
    for name, label in (("live_macs", "live multiply-accumulates"), ("params", "parameters")):
        yield label, "0", *both(result["costs"], name), "", ""


def staged_tables() -> Iterator[Row]:
    """What staged searches of tables find, beside the top level alone and what is for free."""
    yield "table", "part", "cost", "staged", "top level alone", "random", "most MACs"
    for name, table in read("staged_tables")["tables"].items():
        for part, found in table["parts"].items():
            for i, budget in enumerate(table["budgets"]):
                methods = found["methods"]

                def regret(method: str, methods: Any = methods, i: int = i) -> str:
                    mean, most = (methods[method][f"{each}_regret"][i] for each in STATISTICS)
                    return f"{mean:.2f} ({most:.2f})"

                cells = map(regret, ("staged", "top level alone", "random"))
                cost = f"{budget / 3600:g} h" if budget >= 3600 else f"{budget:g} accuracies"
                size = f"{part}, {found['num_archs']:,}"
                yield name, size, cost, *cells, f"{methods['most MACs']['mean_regret'][i]:.2f}"


#: Of regrets over seeds.
STATISTICS = ("mean", "largest")

TABLES: dict[str, Callable[[], Iterator[Row]]] = {
    table.__name__: table
    for table in (
        ranking_live_costs,
        ranking_strategies,
        zero_cost,
        from_scratch,
        ranking_spaces,
        search_nasbench201,
        search_nasbench_macro,
        search_accel_nasbench,
        predictors_accel_nasbench,
        ladder,
        staged_tables,
        neural_predictor,
        mlp_quality,
        ask_seconds_weaknas,
        differentiable_nasbench201,
        differentiable_retrain,
        mobilenetv3_cifar10,
        nasnet_cifar10,
        vit_parity,
        model_optimizer_peer,
        kernels,
        peers_speed,
        compiled,
    )
}


def markdown(rows: Iterator[Row]) -> str:
    """A table whose first row is its head."""
    head = next(rows)

    def line(cells: Row) -> str:
        text = " | ".join(cells)
        return re.sub(r"  +", " ", f"| {text} |")

    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows)])


def with_tables(page: str) -> str:
    """The page with every marked table as its result has it.

    Raises:
        ValueError: If a table is unknown or has no end.
    """
    for name in re.findall(r"<!-- table: (\S+) -->", page):
        if name not in TABLES:
            raise ValueError(f"Unknown table {name!r}; choose from {', '.join(TABLES)}.")
        start, end = f"<!-- table: {name} -->", f"<!-- end: {name} -->"
        before, _, rest = page.partition(start)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"Table {name!r} must end with {end!r}.")
        page = f"{before}{start}\n\n{markdown(TABLES[name]())}\n\n{end}{after}"
    return page


def main() -> int:
    """Writes the tables into the page, or checks them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if one differs")
    args = parser.parse_args()
    old = PAGE.read_text(encoding="utf-8")
    new = with_tables(old)
    if not args.check:
        PAGE.write_text(new, encoding="utf-8")
        return 0
    differing = [
        name for name in TABLES if f"table: {name} " in new and _part(new, name) != _part(old, name)
    ]
    if differing:
        print(f"differ from benchmarks/results: {', '.join(differing)}", file=sys.stderr)
    return int(bool(differing))


def _part(page: str, name: str) -> str:
    return page.partition(f"<!-- table: {name} -->")[2].partition(f"<!-- end: {name} -->")[0]


if __name__ == "__main__":
    sys.exit(main())
