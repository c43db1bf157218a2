"""The native kernels against their reference: awkward sizes, every instruction set that runs here, guarded memory, threads, and no library.

Letters: T rows, K inner width, N outputs, E experts, G groups of a row.
"""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from puna.kernels import linear as ops
from puna.kernels import native
from puna.kernels.linear import (
    PackedWeight,
    dequantize,
    pack_int4,
    pack_int8,
    pack_nibbles,
    reference_linear,
    reference_rounded,
    unpack,
)

ROOT = Path(__file__).parents[2]
TOLERANCE = 1e-5  # fp32 sums in another order, as a share of the largest value
ROWS = (1, 2, 7, 33)
WIDTHS = ((1, 1), (5, 31), (16, 32), (50, 192), (17, 100), (33, 37))  # N, K: panels are 16 rows, blocks 32 columns
GUARD = 64  # elements around a buffer
CANARY = 12345.0

needs_library = pytest.mark.skipif(not native.available(), reason=f"no native library: {native.why_not()}")


def runs_here(name: str) -> bool:
    try:
        native.use_isa(name)
    except ValueError:
        return False
    finally:
        native.use_isa(None)
    return True


ISAS = [name for name in ("portable", "avx2", "avx512", "neon") if runs_here(name)] if native.available() else ["no library"]


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set that this machine has."""
    if not native.available():
        pytest.skip(f"no native library: {native.why_not()}")
    native.use_isa(request.param)
    yield request.param
    native.use_isa(None)


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = native.threads()
    native.set_threads(request.param)
    yield request.param
    native.set_threads(before)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def quantized(bits: int, *shape: int, groups: int = 1, dtype: torch.dtype = torch.float32, seed: int = 0) -> PackedWeight:
    integers, scales = integers_and_scales(bits, *shape, groups=groups, dtype=dtype, seed=seed)
    return pack_int8(integers, scales) if bits == 8 else pack_int4(integers, scales)


def integers_and_scales(
    bits: int, *shape: int, groups: int = 1, dtype: torch.dtype = torch.float32, seed: int = 0
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    smallest, largest = (-127, 127) if bits == 8 else (-8, 7)
    integers = torch.randint(smallest, largest + 1, shape, dtype=torch.int8, generator=generator)
    return integers, (0.001 + 0.01 * torch.rand(*shape[:-1], groups, generator=generator)).to(dtype)


def near(got: Tensor, expected: Tensor) -> bool:
    largest = max(float(expected.abs().max()), 1e-3) if expected.numel() else 1.0
    return got.shape == expected.shape and got.dtype == expected.dtype and bool(((got - expected).abs() <= TOLERANCE * largest).all())


def guarded(values: Tensor) -> tuple[Tensor, Tensor]:
    """The same values inside a larger buffer, and the buffer. What lies around is NaN for floats, which any use of it spreads."""
    poison = float("nan") if values.is_floating_point() else 0x5A
    buffer = torch.full((GUARD + values.numel() + GUARD,), poison, dtype=values.dtype)
    inside = buffer[GUARD:-GUARD].view(values.shape)
    inside.copy_(values)
    return inside, buffer


# ---- products


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_plain_weights_equal_the_reference_at_awkward_sizes(isa: str, threads: int, dtype: torch.dtype) -> None:
    for rows in ROWS:
        for outputs, width in WIDTHS:
            x_TK, w_NK = random(rows, width), random(outputs, width, seed=1).to(dtype)
            assert near(native.linear(x_TK, w_NK), reference_linear(x_TK, w_NK)), (rows, outputs, width)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("bits", [4, 8])
def test_packed_weights_equal_the_reference_at_awkward_sizes(isa: str, threads: int, bits: int, exact: bool) -> None:
    for rows in ROWS:
        for outputs, width in WIDTHS:
            for groups in {1, max(1, width // 32) if width % 32 == 0 else 1, 3 if width % 96 == 0 else 1}:
                x_TK, weight = random(rows, width), quantized(bits, outputs, width, groups=groups)
                expected = reference_linear(x_TK if exact else reference_rounded(x_TK), dequantize(weight))
                assert near(native.linear_packed(x_TK, weight, exact=exact), expected), (rows, outputs, width, groups)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_scales_come_in_three_types(isa: str, bits: int, dtype: torch.dtype) -> None:
    x_TK, weight = random(3, 128), quantized(bits, 20, 128, groups=2, dtype=dtype)
    assert near(native.linear_packed(x_TK, weight, exact=True), reference_linear(x_TK, dequantize(weight)))


def test_half_precision_scales_below_the_normal_range_are_read_right(isa: str) -> None:
    integers = torch.full((16, 32), 100, dtype=torch.int8)
    scales = torch.tensor([2.0**-24, -(2.0**-20), 2.0**-15, 0.0] * 4).half()[:, None]
    got = native.linear_packed(torch.ones(1, 32), pack_int8(integers, scales), exact=True)
    assert torch.equal(got[0], 3200 * scales[:, 0].float())


@pytest.mark.parametrize("large", [False, True])
def test_extreme_weights_and_activations_do_not_saturate(isa: str, large: bool) -> None:
    """Pairs of 127 x 127 and blocks of 15 x 127 are the most that 16-bit sums must hold."""
    x_TK = torch.ones(4, 64) * torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None]
    for bits, value in ((8, 127 if large else -127), (4, 7 if large else -8)):
        integers = torch.full((16, 64), value, dtype=torch.int8)
        pack = pack_int8 if bits == 8 else pack_int4
        got = native.linear_packed(x_TK, pack(integers, torch.ones(16, 1)))
        assert near(got, (64.0 * value * x_TK[:, :1]).expand(4, 16).contiguous())


@pytest.mark.parametrize("packed", [False, True])
def test_nothing_outside_the_buffers_is_read_or_written(isa: str, threads: int, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs: list[Tensor] = []

    def guarded_output(like: Tensor, *shape: int) -> Tensor:
        inside, buffer = guarded(torch.empty(*shape))
        buffer[:GUARD], buffer[-GUARD:] = CANARY, CANARY
        inside.fill_(float("nan"))  # so that a place nobody wrote is found out
        outputs.append(buffer)
        return inside

    monkeypatch.setattr(torch.Tensor, "new_empty", guarded_output)
    for rows, width_out, width in [(1, 5, 31), (7, 17, 100), (33, 50, 192), (2, 300, 320)]:
        x_TK, _ = guarded(random(rows, width))
        if packed:
            for bits in (4, 8):
                weight = quantized(bits, width_out, width)
                data, scales = guarded(weight.data)[0], guarded(weight.scales)[0]
                inside = PackedWeight(data=data, scales=scales, bits=bits, group=weight.group, shape=weight.shape)
                for exact in (True, False):
                    assert near(native.linear_packed(x_TK, inside, exact=exact), native_reference(x_TK, weight, exact))
        else:
            for dtype in (torch.float32, torch.bfloat16):
                w_NK, _ = guarded(random(width_out, width, seed=1).to(dtype))
                assert near(native.linear(x_TK, w_NK), reference_linear(x_TK, w_NK))
    assert outputs and all(bool((buffer[:GUARD] == CANARY).all() and (buffer[-GUARD:] == CANARY).all()) for buffer in outputs)


def native_reference(x_TK: Tensor, weight: PackedWeight, exact: bool) -> Tensor:
    return reference_linear(x_TK if exact else reference_rounded(x_TK), dequantize(weight))


def test_a_rows_bits_depend_neither_on_its_company_nor_on_the_threads(isa: str) -> None:
    x_TK, w_NK = random(33, 192), random(530, 192, seed=1)
    weights = [quantized(bits, 530, 192, groups=6) for bits in (4, 8)]
    calls = [
        lambda x: native.linear(x, w_NK),
        lambda x: native.linear(x, w_NK.bfloat16()),
        *(lambda x, w=w, exact=exact: native.linear_packed(x, w, exact=exact) for w in weights for exact in (True, False)),
    ]
    before = native.threads()
    try:
        for call in calls:
            native.set_threads(1)
            alone = torch.cat([call(x_TK[t : t + 1]) for t in range(len(x_TK))])
            for count in (1, 2, 3):
                native.set_threads(count)
                for rows in (2, 3, 5, 6, 8, 33):
                    assert torch.equal(call(x_TK[:rows]), alone[:rows])
    finally:
        native.set_threads(before)


def test_rows_may_lie_apart(isa: str) -> None:
    wide = random(9, 200)
    x_TK, w_NK = wide[:, :100], random(40, 200, seed=1)[:, :100]
    assert near(native.linear(x_TK, w_NK), reference_linear(x_TK, w_NK))
    weight = quantized(8, 40, 100)
    assert near(native.linear_packed(x_TK, weight), native_reference(x_TK, weight, False))


def test_experts_multiply_their_own_rows(isa: str, threads: int) -> None:
    offsets = torch.tensor([0, 3, 3, 4, 20, 20])
    x_RK = random(20, 96)
    w_ENK = random(5, 37, 96, seed=1)
    assert near(native.linear(x_RK, w_ENK, offsets), reference_linear(x_RK, w_ENK, offsets))
    assert near(native.linear(x_RK, w_ENK.bfloat16(), offsets), reference_linear(x_RK, w_ENK.bfloat16(), offsets))
    for bits in (4, 8):
        weight = quantized(bits, 5, 37, 96, groups=3)
        expected = reference_linear(reference_rounded(x_RK), dequantize(weight), offsets)
        assert near(native.linear_packed(x_RK, weight, offsets), expected)


@needs_library
def test_more_experts_than_a_batch_of_pieces_holds() -> None:
    counts = torch.arange(600) % 3 // 2  # every third expert has one row
    offsets = F.pad(counts.cumsum(0), (1, 0))
    x_RK, w_ENK = random(int(offsets[-1]), 8), random(600, 4, 8, seed=1)
    assert near(native.linear(x_RK, w_ENK, offsets), reference_linear(x_RK, w_ENK, offsets))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_no_numbers_are_not_rounded_away(isa: str, value: float) -> None:
    x_TK = random(3, 64)
    x_TK[1, 40] = value
    got = native.linear_packed(x_TK, quantized(8, 20, 64))
    assert not got[1].isfinite().any() and got[[0, 2]].isfinite().all()


def test_activations_of_any_size_are_rounded(isa: str) -> None:
    x_TK = torch.cat([random(1, 32) * scale for scale in (1e-38, 1e-20, 0.0, 1e20, 1e30)], dim=1)
    weight = quantized(8, 16, 160)
    assert near(native.linear_packed(x_TK, weight), native_reference(x_TK, weight, False))


# ---- rows


def test_rms_norm_equals_the_models(isa: str, threads: int) -> None:
    for rows, width in ((1, 1), (7, 33), (40, 300)):
        x_TD, weight = random(rows, width), random(width, seed=1)
        normal = x_TD * torch.rsqrt(x_TD.square().mean(-1, keepdim=True) + 1e-5)
        assert near(native.rms_norm(x_TD, None, 1e-5), normal) and near(native.rms_norm(x_TD, weight, 1e-5), normal * weight)


def test_swiglu_equals_torchs_at_any_size_of_gate(isa: str, threads: int) -> None:
    gate = torch.cat([torch.linspace(-110, 110, 1000), torch.tensor([0.0, -0.0, 1e30, -1e30, float("inf")])])[None]
    up = torch.ones_like(gate)
    got = native.swiglu(torch.cat([gate, up], dim=1))
    torch.testing.assert_close(got, F.silu(gate), rtol=1e-6, atol=1e-36)
    assert native.swiglu(torch.tensor([[float("nan"), 1.0, 1.0, float("nan")]])).isnan().all()
    h = random(41, 2 * 301)
    assert near(native.swiglu(h), F.silu(h[:, :301]) * h[:, 301:])


# ---- packing


@pytest.mark.parametrize("shape", [(1, 1), (16, 32), (17, 33), (50, 192), (3, 20, 96)])
@pytest.mark.parametrize("bits", [4, 8])
def test_packing_permutes_and_loses_nothing(bits: int, shape: tuple[int, ...]) -> None:
    integers, scales = integers_and_scales(bits, *shape, groups=3 if shape[-1] % 96 == 0 else 1, dtype=torch.bfloat16)
    weight = pack_int8(integers, scales) if bits == 8 else pack_int4(integers, scales)
    back, scales_back = unpack(weight)
    assert torch.equal(back, integers) and torch.equal(scales_back, scales) and scales_back.dtype == scales.dtype
    assert weight.shape == shape


def test_nibbles_hold_the_first_of_two_neighbours_in_their_low_half() -> None:
    integers, scales = integers_and_scales(4, 20, 64)
    nibbles = ((integers[:, 0::2] + 8) | (integers[:, 1::2] + 8) << 4).view(torch.uint8)
    assert torch.equal(pack_nibbles(nibbles, scales).data, pack_int4(integers, scales).data)


def test_full_panels_take_no_more_bytes_than_their_bits() -> None:
    assert quantized(8, 32, 64).data.nbytes == 32 * 64 and quantized(4, 32, 64).data.nbytes == 32 * 32


def test_groups_that_do_not_fit_are_refused() -> None:
    integers = torch.ones(16, 64, dtype=torch.int8)
    with pytest.raises(ValueError, match="they must divide it"):
        pack_int8(integers, torch.ones(16, 5))
    with pytest.raises(ValueError, match="groups are a multiple of 32, or the whole row"):
        pack_int8(integers, torch.ones(16, 4))
    with pytest.raises(ValueError, match="they take the same rows"):
        pack_int8(integers, torch.ones(15, 1))
    with pytest.raises(ValueError, match="float32, bfloat16 or float16"):
        pack_int8(integers, torch.ones(16, 1, dtype=torch.float64))
    with pytest.raises(ValueError, match="a weight of -128"):
        pack_int8(torch.full((16, 32), -128, dtype=torch.int8), torch.ones(16, 1))
    with pytest.raises(ValueError, match="4 bits hold -8 to 7"):
        pack_int4(torch.full((16, 32), 8, dtype=torch.int8), torch.ones(16, 1))


# ---- what callers may do wrong


@needs_library
def test_tensors_that_do_not_fit_are_refused_by_name() -> None:
    x_TK, w_NK = random(2, 64), random(16, 64)
    with pytest.raises(ValueError, match="x in torch.bfloat16"):
        native.linear(x_TK.bfloat16(), w_NK)
    with pytest.raises(ValueError, match="each row contiguous"):
        native.linear(random(64, 2).T, w_NK)
    with pytest.raises(ValueError, match="rows must be contiguous"):
        native.linear(x_TK, random(64, 16).T)
    with pytest.raises(ValueError, match="inner width 32"):
        native.linear(x_TK, random(16, 32))
    with pytest.raises(ValueError, match="weights in torch.float16"):
        native.linear(x_TK, w_NK.half())
    with pytest.raises(ValueError, match="weights wants? a gradient"):
        native.linear(x_TK, w_NK.requires_grad_())
    with pytest.raises(ValueError, match="x on meta"):
        native.linear(x_TK.to("meta"), w_NK.detach())
    with pytest.raises(ValueError, match="without offsets"):
        native.linear(x_TK, random(3, 16, 64))
    with pytest.raises(ValueError, match="4 int64 on the CPU"):
        native.linear(x_TK, random(3, 16, 64), torch.tensor([0, 2]))


@needs_library
@pytest.mark.parametrize("offsets", [[0, 1, 3], [1, 1, 2], [0, 3, 2]])
def test_offsets_that_do_not_rise_from_0_to_the_rows_are_refused(offsets: list[int]) -> None:
    with pytest.raises(ValueError, match="offsets that do not rise"):
        native.linear(random(2, 8), random(2, 4, 8), torch.tensor(offsets))


@needs_library
def test_no_rows_give_no_rows() -> None:
    assert native.linear(random(0, 8), random(4, 8)).shape == (0, 4)
    assert native.linear_packed(random(0, 32), quantized(8, 4, 32)).shape == (0, 4)
    assert native.swiglu(random(0, 8)).shape == (0, 4) and native.rms_norm(random(0, 8), None, 1e-5).shape == (0, 8)


@needs_library
def test_an_instruction_set_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="'sse9'"):
        native.use_isa("sse9")
    assert "portable" in ISAS and native.isa() == [name for name in ISAS if name != "portable" or len(ISAS) == 1][-1]


# ---- threads


@needs_library
def test_two_python_threads_get_their_own_answers() -> None:
    before = native.threads()
    native.set_threads(2)
    weight = quantized(4, 640, 320, groups=10)
    wrong: list[int] = []

    def ask(seed: int) -> None:
        x_TK = random(5, 320, seed=seed)
        expected = native_reference(x_TK, weight, False)
        wrong.extend(seed for _ in range(200) if not near(native.linear_packed(x_TK, weight), expected))

    askers = [threading.Thread(target=ask, args=(seed,)) for seed in (1, 2, 3)]
    try:
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
    finally:
        native.set_threads(before)
    assert not wrong


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PUNA_NATIVE")}
    variables = {**kept, **paths, **environment}
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=variables, check=False)


@needs_library
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_computes_with_workers_of_its_own() -> None:
    program = """
import os, torch
from puna.kernels import native
native.set_threads(2)
x, w = torch.ones(4, 512), torch.ones(2048, 512)
for _ in range(20): native.linear(x, w)
child = os.fork()
right = all(bool((native.linear(x, w) == 512).all()) for _ in range(20))
if child == 0: os._exit(0 if right else 1)
assert right and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    outcome = run(program)
    assert outcome.returncode == 0, outcome.stderr


@needs_library
def test_idle_workers_sleep() -> None:
    """Within a fifth of a second after the last call: torch's threads must find the cores free."""
    program = """
import time, torch
from puna.kernels import native
native.set_threads(3)
x, w = torch.ones(8, 512), torch.ones(2048, 512)
for _ in range(50): native.linear(x, w)
time.sleep(0.2)
before = time.process_time()
time.sleep(0.5)
assert time.process_time() - before < 0.05, time.process_time() - before
"""
    outcome = run(program)
    assert outcome.returncode == 0, outcome.stderr


# ---- without the library


WITHOUT = """
import logging; logging.basicConfig(format="%(message)s")
import torch
from puna.kernels import native
from puna.kernels.linear import dequantize, linear, linear_packed, pack_int8, reference_rounded
x, w = torch.randn(3, 64), torch.randn(5, 64)
weight = pack_int8(torch.randint(-127, 128, (5, 64), dtype=torch.int8), torch.rand(5, 2))
assert torch.allclose(linear(x, w), x @ w.T, atol=1e-4)
assert torch.allclose(linear_packed(x, weight), reference_rounded(x) @ dequantize(weight).T, rtol=1e-3, atol=1e-2)
"""


def test_everything_works_without_it_and_says_so_once() -> None:
    outcome = run(WITHOUT + "assert not native.available() and 'PUNA_NATIVE=0' in native.why_not()", PUNA_NATIVE="0")
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stderr.count("native kernels: none") == 1


@pytest.fixture
def loading(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], native._Loaded]]:
    """Loads the library as a new process would, and leaves this one's as it was."""
    for variable in ("PUNA_NATIVE", "PUNA_NATIVE_LIBRARY", "PUNA_NATIVE_ISA"):
        monkeypatch.delenv(variable, raising=False)
    before = native.threads() if native.available() else 1
    yield native._load_once.__wrapped__
    if native.available():
        native.use_isa(None)
        native.set_threads(before)


def test_a_file_that_is_no_library_is_named(
    loading: Callable[[], native._Loaded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "libpuna_native.so"
    broken.write_bytes(b"no library")
    monkeypatch.setenv("PUNA_NATIVE_LIBRARY", str(broken))
    loaded = loading()
    assert loaded.library is None and str(broken) in loaded.why_not and "build it again" in loaded.why_not
    assert loaded.why_not in caplog.text


@needs_library
def test_a_library_of_another_interface_is_not_used(loading: Callable[[], native._Loaded], monkeypatch: pytest.MonkeyPatch) -> None:
    own = native.ABI_VERSION
    monkeypatch.setattr(native, "ABI_VERSION", 999)
    loaded = loading()
    assert loaded.library is None and f"has interface {own}, this code needs 999" in loaded.why_not


@pytest.mark.parametrize(("name", "value"), [("PUNA_NATIVE", "maybe"), ("PUNA_NATIVE_LIBRARY", "/nowhere.so"), ("PUNA_NATIVE_ISA", "sse9")])
def test_a_variable_that_cannot_be_followed_stops_the_program(
    loading: Callable[[], native._Loaded], name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "PUNA_NATIVE_ISA" and not native.available():
        pytest.skip(f"no native library: {native.why_not()}")
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{name}={value!r}"):
        loading()


@needs_library
def test_an_instruction_set_can_be_forced_from_outside(
    loading: Callable[[], native._Loaded], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PUNA_NATIVE_ISA", "portable")
    with caplog.at_level("INFO"):
        loading()
    assert native.isa() == "portable" and "native kernels: portable" in caplog.text


def test_asking_for_a_kernel_without_the_library_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_load", lambda: native._Loaded(None, "no libpuna_native.so: install again"))
    with pytest.raises(RuntimeError, match="not available: no libpuna_native.so: install again"):
        native.swiglu(random(1, 4))
    assert near(ops.linear(random(2, 8), random(3, 8)), reference_linear(random(2, 8), random(3, 8)))


# ---- the library by itself


def test_the_header_and_this_package_speak_the_same_version() -> None:
    header = (ROOT / "native" / "include" / "puna_native.h").read_text(encoding="utf-8")
    assert f"#define PUNA_ABI_VERSION {native.ABI_VERSION}\n" in header


@pytest.mark.skipif(not all(map(shutil.which, ("cmake", "c++"))), reason="no cmake and C++ compiler to build the checks with")
def test_no_kernel_steps_outside_its_memory_or_what_cpp_defines(tmp_path: Path) -> None:
    """`native/tests/check.cpp` under the address and undefined-behaviour sanitizers."""
    steps = (
        ["cmake", "-S", str(ROOT / "native"), "-B", str(tmp_path), "-DPUNA_SANITIZE=ON"],
        ["cmake", "--build", str(tmp_path), "--target", "puna_native_check"],
        [str(tmp_path / "puna_native_check")],
    )
    for step in steps:
        outcome = subprocess.run(step, capture_output=True, text=True, check=False)
        if "cannot find -lasan" in outcome.stderr + outcome.stdout:
            pytest.skip("this compiler has no sanitizers")
        assert outcome.returncode == 0, outcome.stdout[-3000:] + outcome.stderr[-3000:]
    assert "checked" in outcome.stdout
