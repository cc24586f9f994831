"""The spaces that are built in, defined as one's own would be."""

from __future__ import annotations

from functools import partial

from supernets.spaces.definition import SpaceDefinition
from supernets.spaces.mnasnet import MnasNetSpace
from supernets.spaces.mobilenetv3 import MobileNetV3Space
from supernets.spaces.nasbench101 import NASBench101Space
from supernets.spaces.nasbench201 import NASBench201Space
from supernets.spaces.nasbench_macro import NASBenchMacroSpace
from supernets.spaces.nasnet import NASNetSpace
from supernets.spaces.proxylessnas import ProxylessNASSpace
from supernets.spaces.resnet50d import ResNet50DSpace
from supernets.spaces.vit import ViTSpace

_NETWORKS = "supernets.networks"

NASBENCH201 = SpaceDefinition(
    "nasbench201",
    NASBench201Space,
    supernet=f"{_NETWORKS}.nasbench201:NASBench201Supernet",
    settings=f"{_NETWORKS}.settings:NASBench201Settings",
    supernet_only=("bn_mode",),
    subnet=f"{_NETWORKS}.nasbench201:NASBench201Subnet",
    relaxed=f"{_NETWORKS}.nasbench201_relaxed:RelaxedNASBench201",
    counts=f"{_NETWORKS}.nasbench201_counts:NASBench201Counts",
    default_paths="fair",
    # 2: edges of cells that no path reaches are no longer part of the network
    score_revisions={"params": 2, "macs": 2, "naswot": 2},
    derives_none=True,
    drnas_operations=3,
)
MOBILENETV3 = SpaceDefinition(
    "mobilenetv3",
    MobileNetV3Space,
    supernet=f"{_NETWORKS}.mobilenetv3:MobileNetV3Supernet",
    settings=f"{_NETWORKS}.settings:MobileNetV3Settings",
    space_settings=("resolutions",),
    supernet_only=("kernel_transform",),
    subnet=f"{_NETWORKS}.mobilenetv3_subnet:mobilenetv3_subnet",
    published_classes=1000,
    default_paths="sandwich",
    trains_in_bfloat16_on_cpus=False,
    has_drop_path=True,
    trains_progressively=True,
    released_weights="supernets.training.ofa_checkpoints:OFA_MOBILENETV3",
    timm_files="supernets.export.timm_files:write_timm_files",
)
NASBENCH101 = SpaceDefinition("nasbench101", NASBench101Space)
NASBENCH_MACRO = SpaceDefinition(
    "nasbench_macro",
    NASBenchMacroSpace,
    supernet=f"{_NETWORKS}.nasbench_macro:NASBenchMacroSupernet",
    settings=f"{_NETWORKS}.settings:NASBenchMacroSettings",
    default_paths="fair",
    trains_in_bfloat16_on_cpus=False,
)
MNASNET = SpaceDefinition(
    "mnasnet",
    MnasNetSpace,
    counts=f"{_NETWORKS}.mnasnet_counts:MnasNetCounts",
    published_classes=1000,
)
RESNET50D = SpaceDefinition(
    "resnet50d",
    ResNet50DSpace,
    supernet=f"{_NETWORKS}.resnet50d:ResNet50DSupernet",
    settings=f"{_NETWORKS}.settings:ResNet50DSettings",
    subnet=f"{_NETWORKS}.resnet50d_subnet:resnet50d_subnet",
    published_classes=1000,
    default_paths="sandwich",
    has_drop_path=True,
    released_weights="supernets.training.ofa_resnet50d:OFA_RESNET50D",
    timm_files="supernets.export.timm_resnet50d_files:write_timm_resnet50d_files",
)
PROXYLESSNAS = SpaceDefinition(
    "proxylessnas",
    ProxylessNASSpace,
    supernet=f"{_NETWORKS}.proxylessnas:ProxylessNASSupernet",
    settings=f"{_NETWORKS}.settings:ProxylessNASSettings",
    subnet=f"{_NETWORKS}.proxylessnas_subnet:proxylessnas_subnet",
    published_classes=1000,
    inactive_grads="skip",
    trains_in_bfloat16_on_cpus=False,
    has_drop_path=True,
    timm_files="supernets.export.timm_files:write_timm_proxylessnas_files",
)
VIT = SpaceDefinition(
    "vit",
    ViTSpace,
    supernet=f"{_NETWORKS}.vit:ViTSupernet",
    settings=f"{_NETWORKS}.settings:ViTSettings",
    space_settings=("preset", "embed_dims", "depths", "heads", "mlp_ratios"),
    subnet=f"{_NETWORKS}.vit_subnet:vit_subnet",
    published_classes=1000,
    default_paths="sandwich",
    has_drop_path=True,
    timm_files="supernets.export.timm_vit_files:write_timm_vit_files",
)


def _of_two_cells(name: str, published_classes: int) -> SpaceDefinition:
    fixed = {"distinct_inputs": name == "darts"}
    return SpaceDefinition(
        name,
        partial(NASNetSpace, **fixed),
        supernet=f"{_NETWORKS}.nasnet:NASNetSupernet",
        settings=f"{_NETWORKS}.settings:NASNetSettings",
        fixed=fixed,
        supernet_only=("auxiliary",),
        subnet=f"{_NETWORKS}.nasnet_subnet:NASNetSubnet",
        relaxed=f"{_NETWORKS}.nasnet_relaxed:RelaxedNASNet",
        published_classes=published_classes,
        inactive_grads="skip",
        trains_in_bfloat16_on_cpus=False,
        has_drop_path=True,
        has_auxiliary_head=True,
        drnas_operations=4,
    )


NASNET = _of_two_cells("nasnet", published_classes=1000)
DARTS = _of_two_cells("darts", published_classes=10)
