"""Cards: what XLA must know of one to compile for it, and how fast one can be at best."""

from typing import NamedTuple

# What JAX takes of a card's memory unless XLA_PYTHON_CLIENT_MEM_FRACTION says otherwise (its documentation).
DEFAULT_SHARE = 0.75


class Card(NamedTuple):
    """One kind of card.

    Sizes are those that the driver tells, as XLA's descriptions of cards hold them. Rates are the manufacturer's,
    without sparsity: of the A100, H100 and H200 from their data sheets, of the other two from the paper on their
    architecture (GA102); those of the tensor cores with sums in float32.
    """

    name: str
    compute_capability: tuple[int, int]
    cores: int  # streaming multiprocessors
    lanes: int  # float32 units in each
    clock: float  # GHz
    memory: int  # bytes
    bandwidth: float  # bytes a second
    cache: int  # bytes of level 2
    threads: int  # resident in a core
    shared_memory: int  # bytes of a core
    float32: float  # operations a second outside of the tensor cores
    tensor_float32: float  # of float32 inputs in the tensor cores: JAX's products and convolutions of float32
    bfloat16: float

    @property
    def share(self) -> float:
        """Bytes that JAX may use by default."""
        return DEFAULT_SHARE * self.memory


_H100 = Card(
    name="NVIDIA H100 80GB HBM3",
    compute_capability=(9, 0),
    cores=132,
    lanes=128,
    clock=1.98,
    memory=84_942_979_072,
    bandwidth=3.35232e12,
    cache=50 << 20,
    threads=2048,
    shared_memory=233_472,
    float32=66.9e12,
    tensor_float32=494.7e12,
    bfloat16=989.4e12,
)
_A100 = Card(
    name="NVIDIA A100-SXM4-80GB",
    compute_capability=(8, 0),
    cores=108,
    lanes=64,
    clock=1.41,
    memory=85_100_068_864,
    bandwidth=2.03904e12,
    cache=40 << 20,
    threads=2048,
    shared_memory=167_936,
    float32=19.5e12,
    tensor_float32=156e12,
    bfloat16=312e12,
)
_A6000 = Card(
    name="NVIDIA RTX A6000",
    compute_capability=(8, 6),
    cores=84,
    lanes=128,
    clock=1.8,
    memory=51_041_271_808,
    bandwidth=768.096e9,
    cache=6 << 20,
    threads=1536,
    shared_memory=102_400,
    float32=38.7e12,
    tensor_float32=77.4e12,
    bfloat16=154.8e12,
)
CARDS = {
    "h100": _H100,
    "h200": _H100._replace(name="NVIDIA H200 141GB HBM3e", memory=151_397_597_184, bandwidth=4.8e12),
    "a100_40": _A100._replace(name="NVIDIA A100-SXM4-40GB", memory=42_331_013_120, bandwidth=1.5552e12),
    "a100_80": _A100,
    "a6000": _A6000,
    # The paper's: eight of them, 24 GB each (Appendix A.4). Half the tensor cores' rate of the A6000's kind.
    "rtx3090": _A6000._replace(
        name="NVIDIA GeForce RTX 3090",
        cores=82,
        clock=1.695,
        memory=25_438_126_080,
        bandwidth=936e9,
        float32=35.6e12,
        tensor_float32=35.6e12,
        bfloat16=71.2e12,
    ),
}


def description(card: Card) -> str:
    """The card in the words of XLA (`GpuTargetConfigProto`), for a topology of cards that are not here."""
    major, minor = card.compute_capability
    device = dict(
        threads_per_block_limit=1024,
        threads_per_warp=32,
        shared_memory_per_block=48 << 10,
        shared_memory_per_core=card.shared_memory,
        shared_memory_per_block_optin=card.shared_memory - 1024,
        threads_per_core_limit=card.threads,
        core_count=card.cores,
        fpus_per_core=card.lanes,
        block_dim_limit_x=2**31 - 1,
        block_dim_limit_y=65535,
        block_dim_limit_z=65535,
        memory_bandwidth=int(card.bandwidth),
        l2_cache_size=card.cache,
        clock_rate_ghz=card.clock,
        device_memory_size=card.memory,
        registers_per_core_limit=65536,
        registers_per_block_limit=65536,
    )
    fields = " ".join(f"{name}: {value}" for name, value in device.items())
    capability = f"cuda_compute_capability {{ major: {major} minor: {minor} }}"
    return (
        f"gpu_device_info {{ {fields} {capability} }} "
        'platform_name: "CUDA" dnn_version_info { major: 9 minor: 8 } '
        "runtime_version { major: 12 minor: 9 patch: 0 } "
        f'device_description_str: "{card.name}"'
    )
