// AVX2 with FMA and F16C: every x86 server and most PCs since 2013. Compiled with those flags, called only where cpuid names them.
#include "packed.h"

#include <immintrin.h>

namespace puna {
namespace {

#include "types.inl"

struct V {
    using F = __m256;
    using I = __m256i;
    static constexpr int width = 8, lanes = 8, tokens = 3; // 4 x 3 sums, 3 parts of x and a row of w: all 16 registers

    static F zero() { return _mm256_setzero_ps(); }
    static F set(float value) { return _mm256_set1_ps(value); }
    static F load(const float *from) { return _mm256_loadu_ps(from); }
    static F load(const Bf16 *from) {
        const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i *>(from));
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
    }
    static F load(const F16 *from) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from))); }
    static F load(const int8_t *from) {
        return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(from))));
    }
    static void split(const Bf16 *from, F &even, F &odd) {
        const I both = load_int(from);
        even = _mm256_castsi256_ps(_mm256_slli_epi32(both, 16));
        odd = _mm256_castsi256_ps(_mm256_and_si256(both, _mm256_set1_epi32(int32_t(0xffff0000u))));
    }
    static void store(float *to, F value) { _mm256_storeu_ps(to, value); }
    static F add(F a, F b) { return _mm256_add_ps(a, b); }
    static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
    static F div(F a, F b) { return _mm256_div_ps(a, b); }
    static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
    // The constant first: these instructions return their second operand when either is NaN.
    static F at_least(F a, float least) { return _mm256_max_ps(set(least), a); }
    static F at_most(F a, float most) { return _mm256_min_ps(set(most), a); }
    static F larger(F a, F b) { return _mm256_max_ps(a, b); }
    static F nearest(F a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
    static F times_power_of_two(F a, F n) {
        const I exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
        return _mm256_mul_ps(a, _mm256_castsi256_ps(exponent));
    }
    static float sum(F a) {
        __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
        four = _mm_add_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
    }

    // The four sums as `sum` takes them.
    static void sum4(const F (&x)[4], float *to) {
        __m128 half[4], pair[2];
        UNROLL for (int i = 0; i < 4; i++) half[i] = _mm_add_ps(_mm256_castps256_ps128(x[i]), _mm256_extractf128_ps(x[i], 1));
        UNROLL for (int i = 0; i < 2; i++)
            pair[i] = _mm_add_ps(_mm_movelh_ps(half[2 * i], half[2 * i + 1]), _mm_movehl_ps(half[2 * i + 1], half[2 * i]));
        _mm_storeu_ps(to, _mm_add_ps(_mm_shuffle_ps(pair[0], pair[1], 0x88), _mm_shuffle_ps(pair[0], pair[1], 0xdd)));
    }

    static I zero_int() { return _mm256_setzero_si256(); }
    static I set_int(int32_t value) { return _mm256_set1_epi32(value); }
    static F to_float(I a) { return _mm256_cvtepi32_ps(a); }
    static I load_int(const void *from) { return _mm256_loadu_si256(static_cast<const I *>(from)); }

    using Quad = I;
    static Quad broadcast(const int8_t *four) {
        int32_t bits;
        __builtin_memcpy(&bits, four, 4);
        return _mm256_set1_epi32(bits);
    }

    // Integer sums may be taken in any order, and gcc takes all products first and spills them: this makes it add each where it is made.
    static I in_order(I sum) {
        __asm__ volatile("" : "+x"(sum));
        return sum;
    }

    // 8 bits: the multiply-add takes unsigned by signed bytes and saturates at 16 bits, so it gets |w| and a with w's sign:
    // 2 x 127 x 127 fits.
    struct W8 {
        I value, magnitude;
    };
    static I begin8(const int32_t *) { return zero_int(); }
    static W8 load8(const uint8_t *from) {
        const I value = load_int(from);
        return {value, _mm256_abs_epi8(value)};
    }
    static I dot8(I sum, const W8 &w, Quad a) {
        const I pairs = _mm256_maddubs_epi16(w.magnitude, _mm256_sign_epi8(a, w.value));
        return in_order(_mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))));
    }
    static F byte_of(const uint8_t *from, int j) {
        return to_float(_mm256_srai_epi32(_mm256_slli_epi32(load_int(from), 24 - 8 * j), 24));
    }

    // 4 bits: unsigned as stored, w + 8. A block's 8 pairs of products, each at most 2 x 15 x 127, are added in 16 bits, two sums a row. The
    // first begins with -8 times the activations' sum. It may pass the ends of 16 bits on its way and comes back: what it
    // ends with, (w of its 16 columns) * a - 8 * (a of the others), is at most 2 x 16 x 8 x 127 = 32,512.
    using W4 = I;
    using Sum4 = I;
    static int32_t kept(int32_t sum) { return -8 * sum & 0xffff; }
    static Sum4 begin4(const int32_t *kept) { return set_int(*kept); }
    static void load4(const uint8_t *from, W4 &low, W4 &high) {
        const I both = load_int(from), mask = _mm256_set1_epi8(15);
        low = _mm256_and_si256(both, mask);
        high = _mm256_and_si256(_mm256_srli_epi16(both, 4), mask);
    }
    static Sum4 dot4(Sum4 sum, W4 w, Quad a) { return in_order(_mm256_add_epi16(sum, _mm256_maddubs_epi16(w, a))); }
    static I total4(Sum4 sum) { return _mm256_madd_epi16(sum, _mm256_set1_epi16(1)); }
    static F nibble_of(const uint8_t *from, int j, int high) {
        const I four = _mm256_srli_epi32(load_int(from), 8 * j + 4 * high);
        return to_float(_mm256_sub_epi32(_mm256_and_si256(four, _mm256_set1_epi32(15)), _mm256_set1_epi32(8)));
    }

    // The largest magnitude of 32 values, compared as integers: infinities and NaN count as larger than any number.
    static float largest32(const float *x) {
        const I mask = _mm256_set1_epi32(0x7fffffff);
        I most = _mm256_and_si256(load_int(x), mask);
        for (int i = 8; i < 32; i += 8) most = _mm256_max_epi32(most, _mm256_and_si256(load_int(x + i), mask));
        __m128i four = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
        four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
        four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1));
        return _mm_cvtss_f32(_mm_castsi128_ps(four));
    }
    // Rounds 32 values times `scale` to the nearest integers (ties to even) and returns their sum.
    static int32_t round32(const float *x, float scale, int8_t *to) {
        I part[4];
        for (int i = 0; i < 4; i++) part[i] = _mm256_cvtps_epi32(mul(load(x + 8 * i), set(scale)));
        const I total = _mm256_add_epi32(_mm256_add_epi32(part[0], part[1]), _mm256_add_epi32(part[2], part[3]));
        const I bytes = _mm256_packs_epi16(_mm256_packs_epi32(part[0], part[1]), _mm256_packs_epi32(part[2], part[3]));
        // Packing works within halves of the vector: put the fours back in order.
        const I ordered = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        _mm256_storeu_si256(reinterpret_cast<I *>(to), ordered);
        __m128i four = _mm_add_epi32(_mm256_castsi256_si128(total), _mm256_extracti128_si256(total, 1));
        four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
        return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
    }
};

#include "kernels.inl"

} // namespace

const Kernels kAvx2 = PUNA_KERNELS("avx2");

} // namespace puna
