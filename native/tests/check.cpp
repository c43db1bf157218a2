// Runs every kernel on every instruction set of this machine at awkward sizes, against plain loops, in buffers that end where their data
// ends: built with -DPUNA_SANITIZE=ON, a byte read or written outside is an error. A row taken alone must have the bits that it has among
// others. Exit code 0 if all agree.
//
//     puna_native_check [instruction set that this machine must have]
#include "check.h"

#include <algorithm>
#include <thread>

namespace {

std::vector<double> product(const Rows &x, const std::vector<double> &w, int64_t N) {
    const int64_t T = x.count, K = x.width;
    std::vector<double> y(size_t(T * N));
    for (int64_t t = 0; t < T; t++)
        for (int64_t n = 0; n < N; n++)
            for (int64_t k = 0; k < K; k++) y[size_t(t * N + n)] += double(x.row(t)[k]) * w[size_t(n * K + k)];
    return y;
}

// `call(x, T, y)` once for all rows and once for each.
template <class Call>
void check_product(const Rows &x, const Rows &seen, const std::vector<double> &w, int64_t N, const char *what, const Call &call) {
    const int64_t T = x.count, K = x.width;
    const Rows y(T, N), alone(1, N);
    expect(call(x.data.get(), T, y.data.get(), y.stride) == PUNA_OK, what, T, N, K);
    expect(y.near(product(seen, w, N), 1e-5), what, T, N, K);
    for (int64_t t = 0; t < T; t++) {
        call(x.row(t), 1, alone.data.get(), alone.stride);
        expect(same_bits(alone.row(0), y.row(t), N), "a row alone", t, N, K);
    }
}

void check_plain(Random &random, int64_t T, int64_t N, int64_t K) {
    const Rows x(random, T, K), w(random, N, K);
    const auto half = exactly<uint16_t>(N * w.stride - 3);
    std::vector<double> wide, narrow;
    for (int64_t i = 0; i < N * w.stride - 3; i++) {
        half[i] = cut(w.data[i]);
        if (i % w.stride < K) wide.push_back(w.data[i]), narrow.push_back(bf16(half[i]));
    }
    const auto with = [&](const void *data, int32_t type) {
        return [&, data, type](const float *from, int64_t rows, float *y, int64_t y_stride) {
            return puna_linear(from, x.stride, data, type, w.stride, 0, nullptr, 1, y, y_stride, rows, N, K);
        };
    };
    check_product(x, x, wide, N, "fp32", with(w.data.get(), PUNA_F32));
    check_product(x, x, narrow, N, "bf16", with(half.get(), PUNA_BF16));
}

// x as a product that is not exact sees it: rounded to 8 bits in blocks of 32.
Rows rounded(const Rows &x) {
    Rows seen(x.count, x.width);
    for (int64_t t = 0; t < x.count; t++)
        for (int64_t b = 0; b < x.width; b += 32) {
            const int64_t end = std::min(b + 32, x.width);
            float most = 0;
            for (int64_t k = b; k < end; k++) most = std::fmax(most, std::fabs(x.row(t)[k]));
            for (int64_t k = b; k < end; k++) seen.row(t)[k] = most == 0 ? 0 : std::nearbyint(x.row(t)[k] * (127 / most)) * (most / 127);
        }
    return seen;
}

enum Numbers { kAny, kEnds, kLowest }; // kEnds: the largest magnitudes of either sign; kLowest: weights of that one value, rows of one sign

void check_packed(Random &random, int bits, int64_t T, int64_t N, int64_t K, int64_t group, int32_t scale_type, Numbers numbers = kAny) {
    const int64_t blocks = puna::blocks_of(K), panels = puna::panels_of(N), groups = K / group;
    const int lowest = bits == 8 ? -127 : -8, highest = bits == 8 ? 127 : 7;
    const Rows x(random, T, K);
    for (int64_t t = 0; numbers != kAny && t < T; t++)
        for (int64_t k = 0; k < K; k++) x.row(t)[k] = (numbers == kEnds ? random.below(2) : t % 2) ? 1 : -1;
    const auto scales = exactly<float>(scale_type == PUNA_F32 ? panels * groups * 16 : 0);
    const auto halves = exactly<uint16_t>(scale_type == PUNA_F32 ? 0 : panels * groups * 16);
    std::vector<float> scale(size_t(panels * groups * 16));
    for (size_t i = 0; i < scale.size(); i++) {
        const int fraction = random.below(1024);
        scale[i] = (1 + float(fraction) / 1024) / 128;
        if (scale_type == PUNA_F32) scales[i] = scale[i];
        if (scale_type == PUNA_BF16) scale[i] = bf16(halves[i] = cut(scale[i]));
        if (scale_type == PUNA_F16) halves[i] = uint16_t(8 << 10 | fraction);
    }
    const void *stored = scale_type == PUNA_F32 ? static_cast<void *>(scales.get()) : static_cast<void *>(halves.get());
    const auto data = exactly<uint8_t>(panels * blocks * 16 * 32 * bits / 8);
    std::vector<double> w(size_t(N * K));
    for (int64_t n = 0; n < panels * 16; n++)
        for (int64_t k = 0; k < blocks * 32; k++) {
            if (n >= N || k >= K) {
                put(data.get(), bits, blocks, n, k, 0);
                continue;
            }
            int value = lowest;
            if (numbers == kAny) value += random.below(highest - lowest + 1);
            if (numbers == kEnds && random.below(2)) value = highest;
            put(data.get(), bits, blocks, n, k, value);
            w[size_t(n * K + k)] = double(value) * scale[size_t(((n / 16) * groups + k / group) * 16 + n % 16)];
        }
    const Rows seen = rounded(x);
    for (int exact = 0; exact < 2; exact++) {
        const auto call = [&](const float *from, int64_t rows, float *y, int64_t y_stride) {
            const auto workspace = exactly<uint8_t>(puna_packed_workspace(rows, K));
            return puna_linear_packed(from, x.stride, data.get(), stored, scale_type, bits, group, nullptr, 1, exact,
                                      exact ? nullptr : workspace.get(), y, y_stride, rows, N, K);
        };
        check_product(x, exact ? x : seen, w, N, exact ? "packed, exact" : "packed", call);
    }
}

// Blocks of every kind, the last of them short: any numbers, halves that are ties, zeros, too small, infinite, not a number.
void check_rounding(Random &random) {
    const int64_t K = 12 * 32 + 7, blocks = puna::blocks_of(K);
    const auto x = reals(random, K);
    for (int64_t k = 0; k < K; k++) {
        const int64_t kind = k / 32 % 6;
        if (kind == 1) x[k] = k % 32 ? float(random.below(509) - 254) / 2 : 127;
        if (kind == 2) x[k] = 0;
        if (kind == 3) x[k] *= 1e-36f;
        if (kind == 4 && k % 32 == 9) x[k] = -INFINITY;
        if (kind == 5 && k % 32 == 31) x[k] = NAN;
    }
    const auto a = exactly<int8_t>(blocks * 32);
    const auto scales = exactly<float>(blocks);
    const auto kept = exactly<int32_t>(blocks);
    for (int64_t i = 0; i < blocks * 32; i++) a[i] = 99;
    puna::kernels().round_row(x.get(), K, a.get(), scales.get(), kept.get());
    for (int64_t b = 0; b < blocks; b++) {
        float most = 0;
        for (int64_t k = 32 * b; k < std::min(K, 32 * b + 32); k++) most = std::fmax(most, std::fabs(x[k]));
        const bool is_number = b % 6 < 4, is_zero = b % 6 > 1;
        expect(is_number ? scales[b] == (is_zero ? 0 : most / 127) : std::isnan(scales[b]), "a block's scale", 1, b, K);
        for (int64_t k = 32 * b; k < 32 * b + 32; k++)
            expect(a[k] == (is_zero || k >= K ? 0 : std::nearbyint(x[k] * (127 / most))), "a rounded number", 1, k, K);
    }
}

void check_rows(Random &random, int64_t T, int64_t D) {
    const Rows h(random, T, 2 * D, 40), activated(T, D), x(random, T, D), normal(T, D), weighted(T, D);
    const auto w = reals(random, D);
    h.row(0)[0] = 200, h.row(T - 1)[D - 1] = -200;
    puna_swiglu(h.data.get(), h.stride, activated.data.get(), activated.stride, T, D);
    puna_rms_norm(x.data.get(), x.stride, nullptr, 1e-5f, normal.data.get(), normal.stride, T, D);
    puna_rms_norm(x.data.get(), x.stride, w.get(), 1e-5f, weighted.data.get(), weighted.stride, T, D);
    std::vector<double> expected, unit, with;
    for (int64_t t = 0; t < T; t++) {
        double squares = 0;
        for (int64_t d = 0; d < D; d++) squares += double(x.row(t)[d]) * x.row(t)[d];
        for (int64_t d = 0; d < D; d++) {
            const double gate = h.row(t)[d];
            expected.push_back(gate / (1 + std::exp(-gate)) * h.row(t)[D + d]);
            unit.push_back(x.row(t)[d] / std::sqrt(squares / double(D) + 1e-5));
            with.push_back(unit.back() * w[d]);
        }
    }
    for (int64_t i = 0; i < T * D; i++) {
        const double should = expected[size_t(i)], got = activated.row(i / D)[i % D];
        expect(std::fabs(got - should) <= 2e-6 * std::fabs(should) + 1e-30, "swiglu", T, i, D);
    }
    expect(normal.near(unit, 1e-5), "rms_norm", T, D, D);
    expect(weighted.near(with, 1e-5), "rms_norm with a weight", T, D, D);
    h.row(0)[D / 2] = NAN, x.row(0)[D / 2] = NAN;
    puna_swiglu(h.data.get(), h.stride, activated.data.get(), activated.stride, 1, D);
    puna_rms_norm(x.data.get(), x.stride, nullptr, 1e-5f, normal.data.get(), normal.stride, 1, D);
    for (int64_t d = 0; d < D; d++) {
        expect(std::isnan(activated.row(0)[d]) == (d == D / 2), "a NaN gate", 1, d, D);
        expect(std::isnan(normal.row(0)[d]), "a NaN in a norm", 1, d, D);
    }
}

void check_table(Random &random, int64_t T, int64_t D) {
    const int64_t V = 5;
    const auto table = reals(random, V * D), x = exactly<float>(T * D);
    const auto narrow = exactly<uint16_t>(V * D);
    const auto ids = exactly<int64_t>(T);
    for (int64_t t = 0; t < T; t++) ids[t] = random.below(int(V));
    for (int64_t i = 0; i < V * D; i++) {
        uint32_t bits;
        std::memcpy(&bits, &table[i], 4);
        narrow[i] = uint16_t(bits >> 16);
    }
    for (int32_t type : {PUNA_F32, PUNA_BF16}) {
        const void *data = type == PUNA_F32 ? static_cast<const void *>(table.get()) : narrow.get();
        expect(puna_embed(data, type, ids.get(), x.get(), T, V, D) == PUNA_OK, "embed", T, V, D);
        for (int64_t i = 0; i < T * D; i++) {
            uint32_t bits, found;
            std::memcpy(&bits, &table[ids[i / D] * D + i % D], 4);
            std::memcpy(&found, &x[i], 4);
            expect(found == (type == PUNA_F32 ? bits : bits & 0xffff0000u), "an embedded number", T, i, D);
        }
    }
    ids[T - 1] = V;
    expect(puna_embed(table.get(), PUNA_F32, ids.get(), x.get(), T, V, D) == PUNA_BAD_ID, "an id outside the table", T, V, D);
}

// Too small for a second thread.
void check_small() {
    Random random;
    check_rounding(random);
    int32_t turn = 0;
    for (int64_t T : {1, 3, 7})
        for (int64_t N : {1, 5, 50})
            for (int64_t K : {1, 31, 100, 192}) {
                check_plain(random, T, N, K);
                for (int bits : {4, 8}) {
                    check_packed(random, bits, T, N, K, K, turn++ % 3);
                    if (K % 64) continue;
                    for (int64_t group : {32, 64}) check_packed(random, bits, T, N, K, group, turn++ % 3);
                }
                check_rows(random, T, K);
                check_table(random, T, K);
            }
    for (int bits : {4, 8})
        for (Numbers numbers : {kEnds, kLowest}) check_packed(random, bits, 7, 17, 70, 70, PUNA_F32, numbers);
}

// Large enough for the workers.
void check_large() {
    Random random;
    check_plain(random, 5, 700, 300);
    check_packed(random, 8, 9, 700, 320, 32, PUNA_BF16);
    check_packed(random, 4, 9, 700, 320, 64, PUNA_F16);
    for (int bits : {4, 8}) check_packed(random, bits, 9, 17, 4160, 32, PUNA_F32); // wide rows
}

} // namespace

int main(int count, char **arguments) {
    const char *wanted = count > 1 ? arguments[1] : nullptr;
    bool is_here = wanted == nullptr;
    for (const char *isa : {"portable", "avx2", "avx512", "neon"}) {
        if (puna_use_isa(isa) != PUNA_OK) continue;
        check_attention();
        check_small();
        for (int threads : {1, 3}) {
            puna_set_threads(threads);
            check_large();
        }
        std::thread other(check_decoder); // two callers share one pool
        check_large();
        other.join();
        std::printf("%s checked\n", isa);
        is_here = is_here || std::strcmp(isa, wanted) == 0;
    }
    if (!is_here) std::fprintf(stderr, "%s: not in this build or not on this machine, so not checked\n", wanted);
    return failures == 0 && is_here ? 0 : 1;
}
