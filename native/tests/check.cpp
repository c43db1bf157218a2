// Runs every kernel on every instruction set of this machine at awkward sizes, against plain loops, in buffers that end where their data
// ends: built with -DPUNA_SANITIZE=ON, a byte read or written outside is an error. Exit code 0 if all agree.
#include "packed.h"
#include "puna_native.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

namespace {

int failures = 0;

void expect(bool holds, const char *what, int64_t T, int64_t N, int64_t K) {
    if (holds) return;
    std::fprintf(stderr, "%s: %s fails at T=%d N=%d K=%d\n", puna_isa(), what, int(T), int(N), int(K));
    failures++;
}

// Of exactly this many elements: vectors may hold more than they say.
template <class X>
std::unique_ptr<X[]> exactly(int64_t count) {
    return std::unique_ptr<X[]>(new X[size_t(count)]());
}

struct Random {
    uint32_t state = 1;
    uint32_t next() { return state = state * 1664525u + 1013904223u, state >> 8; }
    float real() { return float(int32_t(next() & 0xffff) - 0x8000) / 32768.0f; }
    int below(int most) { return int(next() % uint32_t(most)); }
};

std::unique_ptr<float[]> reals(Random &random, int64_t count) {
    auto values = exactly<float>(count);
    for (int64_t i = 0; i < count; i++) values[i] = random.real();
    return values;
}

bool near(const float *got, const std::vector<double> &expected, double tolerance) {
    double most = 1e-3;
    for (double value : expected) most = std::fmax(most, std::fabs(value));
    for (size_t i = 0; i < expected.size(); i++)
        if (!(std::fabs(got[i] - expected[i]) <= tolerance * most)) return false;
    return true;
}

std::vector<double> product(const float *x, const std::vector<double> &w, int64_t T, int64_t N, int64_t K) {
    std::vector<double> y(size_t(T * N));
    for (int64_t t = 0; t < T; t++)
        for (int64_t n = 0; n < N; n++)
            for (int64_t k = 0; k < K; k++) y[size_t(t * N + n)] += double(x[t * K + k]) * w[size_t(n * K + k)];
    return y;
}

// x as a product that is not exact sees it: rounded to 8 bits in blocks of 32.
std::unique_ptr<float[]> rounded(const float *x, int64_t T, int64_t K) {
    auto seen = exactly<float>(T * K);
    for (int64_t t = 0; t < T; t++)
        for (int64_t b = 0; b < K; b += 32) {
            const int64_t end = b + 32 < K ? b + 32 : K;
            float most = 0;
            for (int64_t k = b; k < end; k++) most = std::fmax(most, std::fabs(x[t * K + k]));
            for (int64_t k = b; k < end; k++) seen[t * K + k] = most == 0 ? 0 : std::nearbyint(x[t * K + k] * (127 / most)) * (most / 127);
        }
    return seen;
}

void check_plain(Random &random, int64_t T, int64_t N, int64_t K) {
    auto x = reals(random, T * K), w = reals(random, N * K), y = exactly<float>(T * N);
    auto half = exactly<uint16_t>(N * K);
    std::vector<double> wide(w.get(), w.get() + N * K), cut(size_t(N * K));
    for (int64_t i = 0; i < N * K; i++) {
        uint32_t bits;
        std::memcpy(&bits, &w[i], 4);
        half[i] = uint16_t(bits >> 16);
        bits &= 0xffff0000u;
        float value;
        std::memcpy(&value, &bits, 4);
        cut[size_t(i)] = value;
    }
    expect(puna_linear(x.get(), K, w.get(), PUNA_F32, K, 0, nullptr, 1, y.get(), N, T, N, K) == PUNA_OK, "a product", T, N, K);
    expect(near(y.get(), product(x.get(), wide, T, N, K), 1e-5), "fp32", T, N, K);
    puna_linear(x.get(), K, half.get(), PUNA_BF16, K, 0, nullptr, 1, y.get(), N, T, N, K);
    expect(near(y.get(), product(x.get(), cut, T, N, K), 1e-5), "bf16", T, N, K);
}

// The layout once more, from its description in packed.h: where weight (n, k) lies.
void put(uint8_t *data, int bits, int64_t blocks, int64_t n, int64_t k, int value) {
    const int64_t panel = n / 16, row = n % 16, block = k / 32, quad = k % 32 / 4, column = k % 4;
    const int64_t start = (panel * blocks + block) * 16 * 32;
    if (bits == 8) data[start + quad * 64 + row * 4 + column] = uint8_t(int8_t(value));
    else data[start / 2 + quad / 2 * 64 + row * 4 + column] |= uint8_t((value + 8) << (4 * (quad % 2)));
}

void check_packed(Random &random, int bits, int64_t T, int64_t N, int64_t K, int64_t group) {
    const int64_t blocks = puna::blocks_of(K), panels = puna::panels_of(N), groups = K / group, largest = bits == 8 ? 127 : 7;
    auto x = reals(random, T * K), scales = exactly<float>(panels * groups * 16), y = exactly<float>(T * N);
    auto data = exactly<uint8_t>(panels * blocks * 16 * 32 * bits / 8);
    std::vector<double> w(size_t(N * K));
    for (int64_t n = 0; n < panels * 16; n++)
        for (int64_t k = 0; k < blocks * 32; k++) {
            if (n >= N || k >= K) {
                put(data.get(), bits, blocks, n, k, 0);
                continue;
            }
            const int value = random.below(int(2 * largest + 1)) - int(largest);
            float &scale = scales[((n / 16) * groups + k / group) * 16 + n % 16];
            if (k % group == 0) scale = 0.01f + 0.01f * std::fabs(random.real());
            put(data.get(), bits, blocks, n, k, value);
            w[size_t(n * K + k)] = double(value) * scale;
        }
    const auto seen = rounded(x.get(), T, K);
    auto workspace = exactly<uint8_t>(puna_packed_workspace(T, K));
    for (int exact = 0; exact < 2; exact++) {
        const int32_t status = puna_linear_packed(x.get(), K, data.get(), scales.get(), PUNA_F32, bits, group, nullptr, 1, exact,
                                                  exact ? nullptr : workspace.get(), y.get(), N, T, N, K);
        expect(status == PUNA_OK, "a packed product", T, N, K);
        expect(near(y.get(), product(exact ? x.get() : seen.get(), w, T, N, K), 1e-5), exact ? "packed, exact" : "packed", T, N, K);
    }
}

void check_rows(Random &random, int64_t T, int64_t D) {
    auto x = reals(random, T * 2 * D), y = exactly<float>(T * D);
    puna_swiglu(x.get(), 2 * D, y.get(), D, T, D);
    std::vector<double> expected(size_t(T * D));
    for (int64_t t = 0; t < T; t++)
        for (int64_t d = 0; d < D; d++) {
            const double gate = x[t * 2 * D + d];
            expected[size_t(t * D + d)] = gate / (1 + std::exp(-gate)) * x[t * 2 * D + D + d];
        }
    expect(near(y.get(), expected, 1e-5), "swiglu", T, D, D);
    puna_rms_norm(x.get(), D, nullptr, 1e-5f, y.get(), D, T, D);
    for (int64_t t = 0; t < T; t++) {
        double squares = 0;
        for (int64_t d = 0; d < D; d++) squares += double(x[t * D + d]) * x[t * D + d];
        for (int64_t d = 0; d < D; d++) expected[size_t(t * D + d)] = x[t * D + d] / std::sqrt(squares / double(D) + 1e-5);
    }
    expect(near(y.get(), expected, 1e-5), "rms_norm", T, D, D);
}

void check_all() {
    Random random;
    for (int64_t T : {1, 3, 7})
        for (int64_t N : {1, 5, 50})
            for (int64_t K : {1, 31, 100, 192}) {
                check_plain(random, T, N, K);
                for (int bits : {4, 8}) {
                    check_packed(random, bits, T, N, K, K);
                    if (K % 64 == 0) check_packed(random, bits, T, N, K, 32), check_packed(random, bits, T, N, K, 64);
                }
                check_rows(random, T, K);
            }
    check_plain(random, 5, 700, 300); // large enough for the workers
    check_packed(random, 8, 9, 700, 320, 32);
    check_packed(random, 4, 9, 700, 320, 64);
}

} // namespace

int main() {
    for (const char *isa : {"portable", "avx2", "avx512", "neon"}) {
        if (puna_use_isa(isa) != PUNA_OK) continue;
        for (int threads : {1, 3}) {
            puna_set_threads(threads);
            check_all();
        }
        std::thread other(check_all); // two callers share one pool
        check_all();
        other.join();
        std::printf("%s checked\n", isa);
    }
    return failures == 0 ? 0 : 1;
}
