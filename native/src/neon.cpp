// Arm with the dot-product instructions (all Apple silicon, Graviton 2, phones since 2018); a panel is four vectors of 4 rows.
#include "packed.h"

#include <arm_neon.h>

namespace puna {
namespace {

#include "types.inl"

struct V {
    using F = float32x4_t;
    using I = int32x4_t;
    static constexpr int width = 4, lanes = 4, tokens = 4;

    static F zero() { return vdupq_n_f32(0.0f); }
    static F set(float value) { return vdupq_n_f32(value); }
    static F load(const float *from) { return vld1q_f32(from); }
    static F load(const Bf16 *from) {
        return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(reinterpret_cast<const uint16_t *>(from)), 16));
    }
    static F load(const F16 *from) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(reinterpret_cast<const uint16_t *>(from)))); }
    static F load(const int8_t *from) {
        int32_t bits;
        __builtin_memcpy(&bits, from, 4);
        return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(bits))))));
    }
    static void split(const Bf16 *from, F &even, F &odd) {
        const uint16x4x2_t both = vld2_u16(reinterpret_cast<const uint16_t *>(from));
        even = vreinterpretq_f32_u32(vshll_n_u16(both.val[0], 16)), odd = vreinterpretq_f32_u32(vshll_n_u16(both.val[1], 16));
    }
    static void store(float *to, F value) { vst1q_f32(to, value); }
    static F add(F a, F b) { return vaddq_f32(a, b); }
    static F mul(F a, F b) { return vmulq_f32(a, b); }
    static F div(F a, F b) { return vdivq_f32(a, b); }
    static F fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }
    static F at_least(F a, float least) { return vmaxq_f32(a, set(least)); } // NaN stays NaN here
    static F at_most(F a, float most) { return vminq_f32(a, set(most)); }
    static F larger(F a, F b) { return vmaxq_f32(a, b); }
    static F nearest(F a) { return vrndnq_f32(a); }
    static F times_power_of_two(F a, F n) {
        return vmulq_f32(a, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23)));
    }
    static float sum(F a) {
        const F pairs = vpaddq_f32(a, a);
        return vgetq_lane_f32(vpaddq_f32(pairs, pairs), 0);
    }

    static void sum4(const F (&x)[4], float *to) {
        vst1q_f32(to, vpaddq_f32(vpaddq_f32(x[0], x[1]), vpaddq_f32(x[2], x[3])));
    }

    static I zero_int() { return vdupq_n_s32(0); }
    static I set_int(int32_t value) { return vdupq_n_s32(value); }
    static F to_float(I a) { return vcvtq_f32_s32(a); }

    using Quad = int8x16_t;
    static Quad broadcast(const int8_t *four) {
        int32_t bits;
        __builtin_memcpy(&bits, four, 4);
        return vreinterpretq_s8_s32(vdupq_n_s32(bits));
    }

    using W8 = int8x16_t;
    static I begin8(const int32_t *) { return zero_int(); }
    static W8 load8(const uint8_t *from) { return vreinterpretq_s8_u8(vld1q_u8(from)); }
    static I dot8(I sum, W8 w, Quad a) { return vdotq_s32(sum, w, a); }
    static F byte_of(const uint8_t *from, int j) {
        const I four = vreinterpretq_s32_u8(vld1q_u8(from));
        return to_float(vshrq_n_s32(vshlq_s32(four, vdupq_n_s32(24 - 8 * j)), 24));
    }

    using W4 = int8x16_t;
    using Sum4 = I;
    // Nibbles are at most 15: they fit signed bytes as they are stored.
    static int32_t kept(int32_t sum) { return sum; }
    static Sum4 begin4(const int32_t *kept) { return set_int(-8 * *kept); }
    static void load4(const uint8_t *from, W4 &low, W4 &high) {
        const uint8x16_t both = vld1q_u8(from);
        low = vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15)));
        high = vreinterpretq_s8_u8(vshrq_n_u8(both, 4));
    }
    static Sum4 dot4(Sum4 sum, W4 w, Quad a) { return vdotq_s32(sum, w, a); }
    static I total4(Sum4 sum) { return sum; }
    static F nibble_of(const uint8_t *from, int j, int high) {
        const uint32x4_t four = vshlq_u32(vreinterpretq_u32_u8(vld1q_u8(from)), vdupq_n_s32(-(8 * j + 4 * high)));
        return to_float(vsubq_s32(vreinterpretq_s32_u32(vandq_u32(four, vdupq_n_u32(15))), vdupq_n_s32(8)));
    }

    // The largest magnitude of 32 values, compared as integers: infinities and NaN count as larger than any number.
    static float largest32(const float *x) {
        const uint32x4_t mask = vdupq_n_u32(0x7fffffff);
        uint32x4_t most = vdupq_n_u32(0);
        for (int i = 0; i < 32; i += 4) most = vmaxq_u32(most, vandq_u32(vreinterpretq_u32_f32(load(x + i)), mask));
        const uint32_t bits = vmaxvq_u32(most);
        float largest;
        __builtin_memcpy(&largest, &bits, 4);
        return largest;
    }
    // Rounds 32 values times `scale` to the nearest integers (ties to even) and returns their sum.
    static int32_t round32(const float *x, float scale, int8_t *to) {
        I total = zero_int();
        for (int i = 0; i < 32; i += 8) {
            const I first = vcvtnq_s32_f32(mul(load(x + i), set(scale))), second = vcvtnq_s32_f32(mul(load(x + i + 4), set(scale)));
            total = vaddq_s32(total, vaddq_s32(first, second));
            vst1_s8(to + i, vqmovn_s16(vcombine_s16(vqmovn_s32(first), vqmovn_s32(second))));
        }
        return vaddvq_s32(total);
    }
};

#include "kernels.inl"

} // namespace

const Kernels kNeon = PUNA_KERNELS("neon");

} // namespace puna
