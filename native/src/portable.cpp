// Plain C++, for any machine: vectors of 4 as gcc and clang know them, which become whatever the build's baseline has.
#include "packed.h"

namespace puna {
namespace {

#include "types.inl"

struct V {
    typedef float F __attribute__((vector_size(16)));
    typedef int32_t I __attribute__((vector_size(16)));
    static constexpr int width = 4, lanes = 4, tokens = 2;

    static float from_bits(uint32_t bits) {
        float value;
        __builtin_memcpy(&value, &bits, 4);
        return value;
    }
    static float half(F16 from) {
        const uint32_t bits = from.bits, sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31, fraction = bits & 1023;
        if (exponent == 0) { // zero, or below the smallest normal number: fraction x 2^-24
            const float small = float(fraction) * 5.9604645e-8f;
            return sign ? -small : small;
        }
        return from_bits(sign | (exponent == 31 ? 255u : exponent + 112) << 23 | fraction << 13);
    }
    static float wide(Bf16 from) { return from_bits(uint32_t(from.bits) << 16); }

    static F zero() { return set(0.0f); }
    static F set(float value) { return F{value, value, value, value}; }
    static F load(const float *from) {
        F value;
        __builtin_memcpy(&value, from, sizeof value);
        return value;
    }
    static F load(const Bf16 *from) { return F{wide(from[0]), wide(from[1]), wide(from[2]), wide(from[3])}; }
    static F load(const F16 *from) { return F{half(from[0]), half(from[1]), half(from[2]), half(from[3])}; }
    static F load(const int8_t *from) { return F{float(from[0]), float(from[1]), float(from[2]), float(from[3])}; }
    static void split(const Bf16 *from, F &even, F &odd) {
        for (int i = 0; i < 4; i++) even[i] = wide(from[2 * i]), odd[i] = wide(from[2 * i + 1]);
    }
    static void store(float *to, F value) { __builtin_memcpy(to, &value, sizeof value); }
    static F add(F a, F b) { return a + b; }
    static F mul(F a, F b) { return a * b; }
    static F div(F a, F b) { return a / b; }
    static F fma(F a, F b, F c) { return a * b + c; }
    static F at_least(F a, float least) { return a < set(least) ? set(least) : a; }
    static F larger(F a, F b) { return a > b ? a : b; }
    static F at_most(F a, float most) { return a > set(most) ? set(most) : a; }
    // Adding and taking off 1.5 x 2^23 rounds to the nearest integer, ties to even, for magnitudes below 2^22.
    static F nearest(F a) { return (a + set(12582912.0f)) - set(12582912.0f); }
    static F times_power_of_two(F a, F n) {
        F power;
        for (int i = 0; i < 4; i++) {
            const int32_t exponent = n[i] == n[i] ? int32_t(n[i]) : 0; // NaN is in `a` as well
            power[i] = from_bits(uint32_t(exponent + 127) << 23);
        }
        return a * power;
    }
    static float sum(F a) { return (a[0] + a[2]) + (a[1] + a[3]); }

    static void sum4(const F (&x)[4], float *to) {
        for (int i = 0; i < 4; i++) to[i] = sum(x[i]);
    }

    static I zero_int() { return set_int(0); }
    static I set_int(int32_t value) { return I{value, value, value, value}; }
    static F to_float(I a) { return __builtin_convertvector(a, F); }

    using Quad = const int8_t *;
    static Quad broadcast(const int8_t *four) { return four; }

    using W8 = const int8_t *;
    static I begin8(const int32_t *) { return zero_int(); }
    static W8 load8(const uint8_t *from) { return reinterpret_cast<const int8_t *>(from); }
    static I dot8(I sum, W8 w, Quad a) {
        for (int j = 0; j < 4; j++) sum += I{w[j], w[4 + j], w[8 + j], w[12 + j]} * a[j];
        return sum;
    }
    static F byte_of(const uint8_t *from, int j) {
        return F{float(int8_t(from[j])), float(int8_t(from[4 + j])), float(int8_t(from[8 + j])), float(int8_t(from[12 + j]))};
    }

    // Columns of 4 rows, as they are wanted: unpacked once for all rows of x.
    struct W4 {
        I column[4];
    };
    using Sum4 = I;
    static int32_t kept(int32_t sum) { return sum; }
    static Sum4 begin4(const int32_t *kept) { return set_int(-8 * *kept); }
    static void load4(const uint8_t *from, W4 &low, W4 &high) {
        for (int j = 0; j < 4; j++) {
            const I both = {from[j], from[4 + j], from[8 + j], from[12 + j]};
            low.column[j] = both & set_int(15);
            high.column[j] = both >> 4;
        }
    }
    static Sum4 dot4(Sum4 sum, const W4 &w, Quad a) {
        for (int j = 0; j < 4; j++) sum += w.column[j] * a[j];
        return sum;
    }
    static I total4(Sum4 sum) { return sum; }
    static F nibble_of(const uint8_t *from, int j, int high) {
        const I both = {from[j], from[4 + j], from[8 + j], from[12 + j]};
        return to_float((both >> (4 * high) & set_int(15)) - 8);
    }

    // The largest magnitude of 32 values, compared as integers: infinities and NaN count as larger than any number.
    static float largest32(const float *x) {
        uint32_t most = 0;
        for (int i = 0; i < 32; i++) {
            uint32_t bits;
            __builtin_memcpy(&bits, x + i, 4);
            bits &= 0x7fffffffu;
            most = bits > most ? bits : most;
        }
        return from_bits(most);
    }
    // Rounds 32 values times `scale` to the nearest integers (ties to even) and returns their sum.
    static int32_t round32(const float *x, float scale, int8_t *to) {
        int32_t total = 0;
        for (int i = 0; i < 32; i++) {
            to[i] = int8_t((x[i] * scale + 12582912.0f) - 12582912.0f);
            total += to[i];
        }
        return total;
    }
};

#include "kernels.inl"

} // namespace

const Kernels kPortable = PUNA_KERNELS("portable");

} // namespace puna
