// AVX-512 with VNNI: servers since 2019 (Cascade Lake, Zen 4). The same kernels as avx2.cpp on 16 lanes: a panel is one vector, and one
// instruction takes 64 products of bytes to 16 sums. BF16 products are not used: they would round the activations.
#include "packed.h"

#include <immintrin.h>

namespace puna {
namespace {

#include "types.inl"

struct V {
    using F = __m512;
    using I = __m512i;
    static constexpr int width = 16, lanes = 16, tokens = 6; // 4 x 6 sums, 6 parts of x and a row of w: 31 of 32 registers

    static F zero() { return _mm512_setzero_ps(); }
    static F set(float value) { return _mm512_set1_ps(value); }
    static F load(const float *from) { return _mm512_loadu_ps(from); }
    static F load(const Bf16 *from) {
        const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from));
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
    }
    static F load(const F16 *from) { return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(from))); }
    static F load(const int8_t *from) {
        return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from))));
    }
    static void split(const Bf16 *from, F &even, F &odd) {
        const I both = load_int(from);
        even = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
        odd = _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(int32_t(0xffff0000u))));
    }
    static void store(float *to, F value) { _mm512_storeu_ps(to, value); }
    static F add(F a, F b) { return _mm512_add_ps(a, b); }
    static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
    static F div(F a, F b) { return _mm512_div_ps(a, b); }
    static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
    // The constant first: these instructions return their second operand when either is NaN.
    static F at_least(F a, float least) { return _mm512_max_ps(set(least), a); }
    static F at_most(F a, float most) { return _mm512_min_ps(set(most), a); }
    static F larger(F a, F b) { return _mm512_max_ps(a, b); }
    static F nearest(F a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
    static F times_power_of_two(F a, F n) {
        const I exponent = _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23);
        return _mm512_mul_ps(a, _mm512_castsi512_ps(exponent));
    }
    // Halves, quarters, then two by two: the order of all sums here.
    static float sum(F a) {
        const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
        __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
        four = _mm_add_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
    }

    // Four vectors, each down to four numbers, side by side.
    static F quarters(const F (&x)[4]) {
        F pair[2];
        UNROLL for (int i = 0; i < 2; i++)
            pair[i] = add(_mm512_shuffle_f32x4(x[2 * i], x[2 * i + 1], 0x44), _mm512_shuffle_f32x4(x[2 * i], x[2 * i + 1], 0xee));
        return add(_mm512_shuffle_f32x4(pair[0], pair[1], 0x88), _mm512_shuffle_f32x4(pair[0], pair[1], 0xdd));
    }
    static F twos(F a, F b) { return add(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee)); }
    static F ones(F a, F b) { return add(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd)); }

    static void sum4(const F (&x)[4], float *to) {
        const F four = quarters(x), two = twos(four, four), one = ones(two, two); // quarter i holds sum i four times
        const __m512i firsts = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
        _mm_storeu_ps(to, _mm512_castps512_ps128(_mm512_permutexvar_ps(firsts, one)));
    }

    static I zero_int() { return _mm512_setzero_si512(); }
    static I set_int(int32_t value) { return _mm512_set1_epi32(value); }
    static F to_float(I a) { return _mm512_cvtepi32_ps(a); }
    static I load_int(const void *from) { return _mm512_loadu_si512(from); }

    using Quad = I;
    static Quad broadcast(const int8_t *four) {
        int32_t bits;
        __builtin_memcpy(&bits, four, 4);
        return _mm512_set1_epi32(bits);
    }

    // 8 bits: the dot product takes unsigned by signed bytes and does not saturate: w + 128, from -128 times the activations' sum on.
    using W8 = I;
    static I begin8(const int32_t *kept) { return set_int(-128 * *kept); }
    static W8 load8(const uint8_t *from) { return _mm512_xor_si512(load_int(from), _mm512_set1_epi8(-128)); }
    static I dot8(I sum, W8 w, Quad a) { return _mm512_dpbusd_epi32(sum, w, a); }
    static F byte_of(const uint8_t *from, int j) {
        return to_float(_mm512_srai_epi32(_mm512_slli_epi32(load_int(from), 24 - 8 * j), 24));
    }

    using W4 = I;
    using Sum4 = I;
    static int32_t kept(int32_t sum) { return sum; }
    static Sum4 begin4(const int32_t *kept) { return set_int(-8 * *kept); }
    static void load4(const uint8_t *from, W4 &low, W4 &high) {
        const I both = load_int(from), mask = _mm512_set1_epi8(15);
        low = _mm512_and_si512(both, mask);
        high = _mm512_and_si512(_mm512_srli_epi16(both, 4), mask);
    }
    static Sum4 dot4(Sum4 sum, W4 w, Quad a) { return _mm512_dpbusd_epi32(sum, w, a); }
    static I total4(Sum4 sum) { return sum; }
    static F nibble_of(const uint8_t *from, int j, int high) {
        const I four = _mm512_srli_epi32(load_int(from), 8 * j + 4 * high);
        return to_float(_mm512_sub_epi32(_mm512_and_si512(four, _mm512_set1_epi32(15)), _mm512_set1_epi32(8)));
    }

    // The largest magnitude of 32 values, compared as integers: infinities and NaN count as larger than any number.
    static float largest32(const float *x) {
        const I mask = _mm512_set1_epi32(0x7fffffff);
        const I most = _mm512_max_epi32(_mm512_and_si512(load_int(x), mask), _mm512_and_si512(load_int(x + 16), mask));
        const int32_t bits = _mm512_reduce_max_epi32(most);
        float largest;
        __builtin_memcpy(&largest, &bits, 4);
        return largest;
    }
    // Rounds 32 values times `scale` to the nearest integers (ties to even) and returns their sum.
    static int32_t round32(const float *x, float scale, int8_t *to) {
        const I first = _mm512_cvtps_epi32(mul(load(x), set(scale))), second = _mm512_cvtps_epi32(mul(load(x + 16), set(scale)));
        _mm_storeu_si128(reinterpret_cast<__m128i *>(to), _mm512_cvtsepi32_epi8(first));
        _mm_storeu_si128(reinterpret_cast<__m128i *>(to + 16), _mm512_cvtsepi32_epi8(second));
        return _mm512_reduce_add_epi32(_mm512_add_epi32(first, second));
    }
};

#include "kernels.inl"

} // namespace

const Kernels kAvx512 = PUNA_KERNELS("avx512");

} // namespace puna
