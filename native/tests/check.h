// What the checks share: numbers to draw, memory that ends where its data ends, and one place that counts what fails.
#pragma once
#include "packed.h"
#include "puna_native.h"

#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

inline std::atomic<int> failures{0};

inline void expect(bool holds, const char *what, int64_t T, int64_t N, int64_t K) {
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

inline std::unique_ptr<float[]> reals(Random &random, int64_t count) {
    auto values = exactly<float>(count);
    for (int64_t i = 0; i < count; i++) values[i] = random.real();
    return values;
}

// Rows [count, width] with three numbers between them that nobody may read (NaN spreads) or write.
struct Rows {
    int64_t count, width, stride;
    std::unique_ptr<float[]> data;

    Rows(int64_t count, int64_t width) : count(count), width(width), stride(width + 3), data(exactly<float>((count - 1) * stride + width)) {
        for (int64_t i = 0; i < (count - 1) * stride + width; i++) data[i] = NAN;
    }
    Rows(Random &random, int64_t count, int64_t width, float size = 1) : Rows(count, width) {
        for (int64_t t = 0; t < count; t++)
            for (int64_t i = 0; i < width; i++) row(t)[i] = size * random.real();
    }

    float *row(int64_t t) const { return data.get() + t * stride; }

    bool near(const std::vector<double> &expected, double tolerance) const {
        double most = 1e-3;
        for (double value : expected) most = std::fmax(most, std::fabs(value));
        for (int64_t t = 0; t < count; t++) {
            for (int64_t i = 0; i < width; i++)
                if (!(std::fabs(row(t)[i] - expected[size_t(t * width + i)]) <= tolerance * most)) return false;
            for (int64_t i = width; t + 1 < count && i < stride; i++)
                if (!std::isnan(row(t)[i])) return false;
        }
        return true;
    }
};

inline bool same_bits(const float *a, const float *b, int64_t count) { return std::memcmp(a, b, size_t(count) * sizeof(float)) == 0; }

// The upper half of an fp32 number, and back.
inline uint16_t cut(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return uint16_t(bits >> 16);
}

inline float bf16(uint16_t half) {
    const uint32_t bits = uint32_t(half) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

// The layout of packed weights once more, from its description in packed.h: where weight (n, k) lies.
inline void put(uint8_t *data, int bits, int64_t blocks, int64_t n, int64_t k, int value) {
    const int64_t panel = n / 16, row = n % 16, block = k / 32, quad = k % 32 / 4, column = k % 4;
    const int64_t start = (panel * blocks + block) * 16 * 32;
    if (bits == 8) data[start + quad * 64 + row * 4 + column] = uint8_t(int8_t(value));
    else data[start / 2 + quad / 2 * 64 + row * 4 + column] |= uint8_t((value + 8) << (4 * (quad % 2)));
}

void check_attention(); // check_attention.cpp
void check_decoder();   // check_decoder.cpp
