/* The whole interface of the library: C, raw pointers, strides in elements. No torch, no Python: one library serves every version of both.

   Every function that can fail returns 0 or a negative `puna_status`; `puna_status_text` says what it means. Nothing throws; nothing
   but a decoder allocates once the first call has started the workers, and every function may be called from any thread. Outputs must not overlap inputs.

   Letters: T rows of activations, K inner width, N outputs, E experts. */
#ifndef PUNA_NATIVE_H
#define PUNA_NATIVE_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define PUNA_EXPORT __declspec(dllexport)
#else
#define PUNA_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Counts up with every change of a signature, a layout or a meaning. src/puna/kernels/native.py asks for exactly this number. */
#define PUNA_ABI_VERSION 3

enum puna_status {
    PUNA_OK = 0,
    PUNA_BAD_SHAPE = -1,   /* a negative size, a stride shorter than its row, a group that does not divide K */
    PUNA_BAD_TYPE = -2,    /* a number that names no type */
    PUNA_BAD_POINTER = -3, /* a null pointer where there is something to read or write */
    PUNA_NO_ISA = -4,      /* instructions that this library or this machine does not have */
    PUNA_BAD_OFFSETS = -5, /* experts' offsets that do not rise from 0 to T */
    PUNA_NO_MEMORY = -6,   /* a decoder's workspace could not grow */
    PUNA_BAD_PIECES = -7,  /* pieces that leave a row out, or name keys or pages that are not there */
    PUNA_BAD_ID = -8       /* an id outside its table */
};

enum puna_type { PUNA_F32 = 0, PUNA_BF16 = 1, PUNA_F16 = 2, PUNA_INT4 = 4, PUNA_INT8 = 8 };

PUNA_EXPORT int32_t puna_abi_version(void);
PUNA_EXPORT const char *puna_status_text(int32_t status);

/* The instruction set in use: "portable", "avx2", "avx512", "neon". Chosen at load: the best that the machine has. */
PUNA_EXPORT const char *puna_isa(void);
/* Use another one from here on. NULL takes the best again. */
PUNA_EXPORT int32_t puna_use_isa(const char *name);

/* How many threads share a call, the caller among them. Workers start when first needed and sleep when idle. */
PUNA_EXPORT int32_t puna_set_threads(int32_t count);
PUNA_EXPORT int32_t puna_threads(void);

/* y[T,N] = x[T,K] @ w[N,K]^T. `w_type` is PUNA_F32 or PUNA_BF16; sums in fp32, each in an order that depends on K alone: neither on T
   nor on the threads.

   With `offsets` (E + 1 numbers that rise from 0 to T) the rows of x are sorted by expert: rows offsets[e] to offsets[e+1] meet
   w + e * w_expert_stride. Without (NULL) num_experts is 1. */
PUNA_EXPORT int32_t puna_linear(const float *x, int64_t x_stride, const void *w, int32_t w_type, int64_t w_stride, int64_t w_expert_stride,
                                const int64_t *offsets, int64_t num_experts, float *y, int64_t y_stride, int64_t T, int64_t N, int64_t K);

/* The same for packed integers (see packed.h for the layout): `bits` 4 or 8, a scale for every `group` weights along K (a multiple of 32
   that divides K, or K itself). Experts lie one after the other. `exact` multiplies fp32 activations; otherwise each row is first rounded
   to 8 bits in blocks of 32, a scale a block, in `workspace` of puna_packed_workspace(T, K) bytes, aligned to 4 (NULL if exact). */
PUNA_EXPORT int64_t puna_packed_workspace(int64_t T, int64_t K);
PUNA_EXPORT int32_t puna_linear_packed(const float *x, int64_t x_stride, const uint8_t *w, const void *scales, int32_t scale_type,
                                       int32_t bits, int64_t group, const int64_t *offsets, int64_t num_experts, int32_t exact,
                                       void *workspace, float *y, int64_t y_stride, int64_t T, int64_t N, int64_t K);

/* y = x / sqrt(mean(x^2) + eps) * w, row by row; w may be NULL (no weight). */
PUNA_EXPORT int32_t puna_rms_norm(const float *x, int64_t x_stride, const float *w, float eps, float *y, int64_t y_stride, int64_t T,
                                  int64_t D);

/* y[T,F] = silu(h[:, :F]) * h[:, F:], where h is [T,2F]. */
PUNA_EXPORT int32_t puna_swiglu(const float *h, int64_t h_stride, float *y, int64_t y_stride, int64_t T, int64_t F);

/* x[T,D] = rows ids[T] of table[V,D], contiguous, PUNA_F32 or PUNA_BF16. */
PUNA_EXPORT int32_t puna_embed(const void *table, int32_t type, const int64_t *ids, float *x, int64_t T, int64_t V, int64_t D);

/* ---- a whole text decoder

   One call takes the rows of a step through all layers: norms, projections, rotation, attention over pages, router, experts. It computes
   what puna.model.text computes, in fp32 from the rows on; weights and pages may be narrower. A decoder only points at weights, which must
   outlive it, and owns its workspace, which grows with the largest step. One call at a time on one decoder. */

/* w[N,K], or E of them, each so many bytes after the one before. Floats (PUNA_F32, PUNA_BF16): rows contiguous, no scales. Integers
   (PUNA_INT4, PUNA_INT8): packed as for puna_linear_packed. `data` is NULL where a layer has no such weight. */
typedef struct {
    const void *data, *scales;
    int64_t group, N, K, expert_bytes, expert_scale_bytes;
    int32_t type, scale_type;
} puna_weight;

typedef struct {
    const float *attention_norm, *feed_forward_norm;    /* [D] */
    puna_weight wq, wk, wv, wo;
    puna_weight gate, up, down;                         /* the dense feed-forward, or the shared expert */
    const float *router, *router_bias;                  /* [E,D] and [E] (added for the choice only); NULL in a dense layer */
    puna_weight expert_gate, expert_up, expert_down;    /* E experts each */
    int32_t rope, qk_norm, temperature;                 /* whether this layer has them */
    int32_t pool, pool_layer;                           /* where its keys and values lie */
} puna_layer;

typedef struct {
    int64_t num_layers, width, num_heads, num_kv_heads, head_width, num_experts;
    float eps, scale;                                   /* of the norms; of the attention scores */
    double attn_scale, floor_scale;                     /* temperature: 1 + attn_scale * ln(floor((p + 1) / floor_scale) + 1) */
    int64_t chunk;                                      /* angles are those of p % chunk; 0: of p */
    const double *frequencies;                          /* [head width / 2], angle per position */
    int32_t exact;                                      /* packed products multiply fp32 activations */
    const float *norm;                                  /* [D], the last */
    const puna_layer *layers;
} puna_decoder_shape;

/* Keys and values of the layers that share a pool: [2, layers, kv heads, pages, tokens_per_page, head width], and for int8 a scale a row. */
typedef struct {
    void *data;
    float *scales;
    int64_t num_layers, num_pages, tokens_per_page;
    int32_t type;                                       /* PUNA_F32, PUNA_BF16, PUNA_INT8 */
} puna_pool;

/* What a pool's layers look at: piece i is rows first_row[i] to first_row[i] + rows[i], the last of num_keys[i] tokens whose keys lie in
   pages[first_page[i]], pages[first_page[i] + 1], ... Every row of a step is in exactly one piece of each pool that has
   layers, in order. */
typedef struct {
    int64_t count;
    const int64_t *first_row, *rows, *num_keys, *first_page, *pages;
} puna_pieces;

typedef struct puna_decoder puna_decoder;

/* NULL if the shape is refused; `status` says why. The layers are copied. */
PUNA_EXPORT puna_decoder *puna_decoder_new(const puna_decoder_shape *shape, int32_t *status);
PUNA_EXPORT void puna_decoder_free(puna_decoder *decoder);

/* x [T,D]: embedded rows in, hidden states after the last norm out; `positions` [T], where each stands in its sequence. Two pools, of which
   one may have no layers. `expert_ids` [MoE layers, T] out, or NULL. */
PUNA_EXPORT int32_t puna_decoder_step(puna_decoder *decoder, int64_t T, float *x, const int64_t *positions, const puna_pool *pools,
                                      const puna_pieces *pieces, int64_t *expert_ids);

#ifdef __cplusplus
}
#endif
#endif
