#!/usr/bin/env python3
"""What 1,000 queries of TSE on ImageNet cost on many GPUs: measured parts, and the plan they make.

Measured here, on one core and pictures of ImageNet: a step of TSE for subnets at full size, drawing
the minibatches, what goes to every worker and how fast that is written, read, and sent between two
nodes of a Ray cluster, and how long algorithms take to ask for many architectures at once. Given,
because there is no GPU here: a step on a GPU, the network, and the cores beside each GPU; and what
``executors.py`` measured of handing out a candidate.

The plan is arithmetic. A round of batches takes as long as its waves of candidates, or as the one
process that hands them out, whichever is longer; an ask waits for the whole round. One by one, each
GPU waits for an ask that all candidates share which were finished in the meantime.

    python benchmarks/imagenet_plan.py --data-dir DIR \
        --executors benchmarks/results/executors.json --output benchmarks/results/imagenet_plan.json
"""

from __future__ import annotations

import argparse
import io
import json
import math
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hardware import write_result

from estimators import ExtraSteps, Minibatches, TSESettings, create_estimator
from estimators.executors.measure import trial_of_estimate
from estimators.executors.worker import read_measure, write_measure
from estimators.trials.store import Trial
from search import SearchProblem, create_algorithm
from supernets import CostModel, create_supernet
from supernets.data.config import DataConfig
from supernets.data.loaders import create_loaders
from supernets.data.packed_batches import PackedBatches
from supernets.networks.base import Supernet

CPU = torch.device("cpu")
SUPERNETS: dict[str, dict[str, Any]] = {
    "mobilenetv3": {"width": 1.2},
    "nasnet": {"channels": 46, "layers": 14, "stem": "imagenet"},
}
#: B, images of a minibatch, trials, and trials of a batch, as WeakNAS has them.
NUM_BATCHES, BATCH_SIZE, NUM_TRIALS, NUM_AT_ONCE = 100, 64, 1000, 100
#: Images of the steps measured here, which take seconds each, and how many steps.
MEASURED_BATCH, NUM_STEPS = 16, 3
GPUS, GPUS_PER_NODE = (8, 64, 512), 8
#: The algorithms that are asked, of batches and one by one.
ASKED = {"weaknas, boosting": ("weaknas", {"predictor": "gradient_boosting"}), "structural-bo": ()}
ASK_SIZES, NUM_TOLD = (8, 64, 512), 500


def main() -> None:
    """Measures and plans."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data-dir", type=Path, required=True, help="folder of pictures of ImageNet")
    add("--executors", type=Path, required=True, help="what executors.py has written")
    add("--gpu-step-ms", type=float, default=50.0, help="of 64 images (default: 50)")
    add("--gigabit", type=float, default=10.0, help="per second between nodes (default: 10)")
    add("--decoders", type=int, default=16, help="processes that draw images (default: 16)")
    add("--output", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    loaders = create_loaders(
        DataConfig("timm", data_dir=args.data_dir, image_size=224),
        batch_size=BATCH_SIZE,
        num_workers=1,
    )
    started = time.perf_counter()
    batches = PackedBatches(loaders.train.take(8), loaders.train.scalings)
    drawing = 8 * BATCH_SIZE / (time.perf_counter() - started)
    measured: dict[str, Any] = {"images_drawn_per_second_by_one_process": round(drawing, 1)}
    for space, settings in SUPERNETS.items():
        supernet = create_supernet(space, num_classes=1000, input_size=(3, 224, 224), **settings)
        measured[space] = steps_of(supernet, batches)
    supernet = create_supernet(
        "nasnet", num_classes=1000, input_size=(3, 224, 224), **SUPERNETS["nasnet"]
    )
    measured["sent_to_workers"] = sent(supernet, batches)
    measured["ask_seconds"] = ask_seconds()
    overhead = worst_overhead(json.loads(args.executors.read_text()))
    measured["ms_to_hand_out_on_ray"] = overhead
    given = {
        "gpu_step_ms": args.gpu_step_ms,
        "gigabit_per_second": args.gigabit,
        "decoders": args.decoders,
        "gpus_per_node": GPUS_PER_NODE,
    }
    write_result(
        args.output,
        {
            "queries": NUM_TRIALS,
            "tse_batches": NUM_BATCHES,
            "images_of_a_minibatch": BATCH_SIZE,
            "at_once": NUM_AT_ONCE,
            "given": given,
            "measured": measured,
            "plan": {str(gpus): plan(gpus, measured, given) for gpus in GPUS},
        },
    )


def steps_of(supernet: Supernet, batches: PackedBatches) -> dict[str, float]:
    """A step of TSE here, by seconds and by what it computes, for a subnet of middle cost."""
    space, cost_model = supernet.space, CostModel(supernet)
    rng = np.random.default_rng(0)
    archs = sorted((space.sample(rng) for _ in range(9)), key=lambda a: cost_model.measure(a).macs)
    arch = archs[len(archs) // 2]
    macs = cost_model.measure(arch).macs
    started = time.perf_counter()
    subnet = supernet.extract(arch)
    extracting = time.perf_counter() - started
    x, y = batches[0]
    small = [(x[:MEASURED_BATCH], y[:MEASURED_BATCH])] * (NUM_STEPS + 1)
    times: list[float] = []
    training = ExtraSteps(small, num_batches=NUM_STEPS + 1)
    training.run(subnet, after_step=lambda _: times.append(time.perf_counter()))
    seconds = statistics.median(b - a for a, b in zip(times, times[1:], strict=False))
    return {
        "mega_macs": round(macs / 1e6, 1),
        "seconds_of_a_step_of_64_on_one_core": round(seconds * BATCH_SIZE / MEASURED_BATCH, 2),
        "giga_macs_per_second_on_one_core": round(3 * macs * MEASURED_BATCH / seconds / 1e9, 1),
        "extract_ms": round(1000 * extracting, 1),
        "weights_megabytes": round(sum(p.numel() for p in supernet.parameters()) * 4 / 1e6, 1),
    }


def sent(supernet: Supernet, batches: PackedBatches) -> dict[str, float]:
    """How much goes to every worker, and how fast here, in megabytes and seconds."""
    import ray
    from ray.cluster_utils import Cluster

    estimator = create_estimator(
        "tse",
        TSESettings(num_batches=len(batches)),
        supernet=supernet,
        data=Minibatches(train=batches),
    )
    buffer = io.BytesIO()
    started = time.perf_counter()
    write_measure(partial(trial_of_estimate, estimator), buffer)
    written = time.perf_counter()
    buffer.seek(0)
    read_measure(buffer)
    read = time.perf_counter()
    size = len(buffer.getbuffer()) / 1e6
    minibatch = batches.num_bytes / len(batches) / 1e6
    memory = 4 * len(buffer.getbuffer())
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": memory}
    )
    cluster.add_node(num_cpus=1, resources={"other": 1}, object_store_memory=memory)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    task = ray.remote(num_cpus=1, resources={"other": 1})(num_bytes)
    ray.get(task.remote(np.zeros(1, np.uint8)))  # its worker has started
    putting = time.perf_counter()
    reference = ray.put(np.frombuffer(buffer.getbuffer(), np.uint8))
    fetching = time.perf_counter()
    ray.get(task.remote(reference))
    fetched = time.perf_counter()
    ray.shutdown()
    cluster.shutdown()
    return {
        "megabytes": round(size + (NUM_BATCHES - len(batches)) * minibatch, 1),
        "megabytes_measured": round(size, 1),
        "write_megabytes_per_second": round(size / (written - started), 1),
        "read_megabytes_per_second": round(size / (read - written), 1),
        "put_megabytes_per_second": round(size / (fetching - putting), 1),
        "megabytes_per_second_between_nodes_of_this_machine": round(size / (fetched - fetching), 1),
    }


def num_bytes(sent: np.ndarray) -> int:
    """Of what a node has fetched."""
    return sent.nbytes


def ask_seconds() -> dict[str, dict[str, float]]:
    """Of one ask for many, with ``NUM_TOLD`` trials told, in MobileNetV3's space."""
    with torch.device("meta"):
        space = create_supernet("mobilenetv3", num_classes=1000).space
    rng = np.random.default_rng(0)
    archs = space.architectures(space.sample_choices(NUM_TOLD, rng))
    features = space.encode(archs)
    scores = features @ rng.normal(size=features.shape[1])
    trials = [Trial(i, a, float(scores[i]), {}, 0.0, None) for i, a in enumerate(archs)]
    found: dict[str, dict[str, float]] = {}
    for label in ASKED:
        name, options = ASKED[label] or (label, {})
        found[label] = {}
        for size in ASK_SIZES:
            algorithm = create_algorithm(name, SearchProblem(space), **options)
            algorithm.tell(trials[:-1])
            algorithm.ask(1)  # makes what is made once
            algorithm.tell(trials[-1:])
            found[label][str(size)] = round(seconds_of(partial(algorithm.ask, size)), 2)
    return found


def seconds_of(call: Callable[[], object]) -> float:
    """Of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def worst_overhead(executors: dict[str, Any]) -> float:
    """Milliseconds of a candidate on Ray, of the slower supernet."""
    return max(each["overhead"]["ray"]["median_ms"] for each in executors["supernets"].values())


def plan(gpus: int, measured: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Seconds of a search on so many GPUs, part by part."""
    candidate = NUM_BATCHES * given["gpu_step_ms"] / 1e3 + measured["nasnet"]["extract_ms"] / 1e3
    hand_out = measured["ms_to_hand_out_on_ray"] / 1e3
    megabytes = measured["sent_to_workers"]["megabytes"]
    network = given["gigabit_per_second"] * 1e3 / 8  # megabytes per second
    hops = math.ceil(math.log2(max(gpus / GPUS_PER_NODE, 1)))  # nodes send on what they have
    start = {
        "draw_minibatches": NUM_BATCHES
        * BATCH_SIZE
        / measured["images_drawn_per_second_by_one_process"]
        / given["decoders"],
        "write_and_put": megabytes / measured["sent_to_workers"]["write_megabytes_per_second"]
        + megabytes / measured["sent_to_workers"]["put_megabytes_per_second"],
        "send_to_nodes": hops * megabytes / network,
        "read_by_workers": megabytes / measured["sent_to_workers"]["read_megabytes_per_second"],
    }
    num_rounds = NUM_TRIALS // NUM_AT_ONCE
    wave = max(math.ceil(NUM_AT_ONCE / gpus) * candidate, NUM_AT_ONCE * hand_out)
    ask = measured["ask_seconds"]["weaknas, boosting"]["64"]
    whole = NUM_TRIALS * candidate / gpus
    batches = num_rounds * (wave + min(NUM_AT_ONCE, gpus) * hand_out + ask)
    in_one_batch = max(math.ceil(NUM_TRIALS / gpus) * candidate, NUM_TRIALS * hand_out)
    one_ask = measured["ask_seconds"]["structural-bo"][str(gpus)]
    one_by_one = max(whole * (candidate + 1.5 * one_ask) / candidate, NUM_TRIALS * hand_out)
    return {
        "gpu_hours_of_measuring": round(NUM_TRIALS * candidate / 3600, 2),
        "seconds_if_nothing_but_measuring": round(whole, 1),
        "seconds_in_batches_of_100": round(batches, 1),
        "seconds_in_batches_as_large_as_gpus": round(
            math.ceil(NUM_TRIALS / max(gpus, NUM_AT_ONCE)) * ask + in_one_batch, 1
        ),
        "seconds_one_by_one": round(one_by_one, 1),
        "seconds_to_start": {name: round(seconds, 1) for name, seconds in start.items()},
        "share_of_gpu_time_used_in_batches_of_100": round(
            whole / (batches + sum(start.values())), 3
        ),
    }


if __name__ == "__main__":
    main()
