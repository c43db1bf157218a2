// The kernels, written once over a struct V of vector operations. Each instruction set's file defines V in an unnamed namespace, includes
// this file there, and exports one table. All that is inlined here must stay inside that namespace and call nothing from a header of the
// standard library: a function compiled for AVX-512 that the linker shares with the portable file would crash on an older machine.
//
// V: width of a float vector F; lanes of an integer vector I (a divisor of 16); tokens, the rows of x that a tile takes.

constexpr int kHalves = int(kPanel) / V::lanes; // vectors side by side in a panel

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// With one row memory decides. This asks for what lies kAhead behind `from`, in the order of memory, however the rows are read, and across the
// edges of pages, where the processor stops to guess; into the second level of cache, since the first is too small for it.
constexpr int64_t kAhead = 8192; // bytes

inline void ask_ahead(const uint8_t *from, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(from + kAhead + i, 0, 2);
}

// ---- plain weights: dot products along K

template <class W>
inline V::F load_some(const W *from, int64_t count) {
    W padded[V::width] = {};
    for (int64_t i = 0; i < count; i++) padded[i] = from[i];
    return V::load(padded);
}

// R rows of w against C rows of x. One sum per pair, in an order that K alone decides: so no row of y depends on its company.
template <class W, int R, int C>
inline void dot_tile(const Plain &p, int64_t n, int64_t t) {
    const W *w = static_cast<const W *>(p.w) + n * p.w_stride;
    const float *x = p.x + t * p.x_stride;
    typename V::F sum[R][C];
    UNROLL for (int r = 0; r < R; r++) UNROLL for (int c = 0; c < C; c++) sum[r][c] = V::zero();
    int64_t k = 0;
    for (; k + V::width <= p.K; k += V::width) {
        if (C == 1) ask_ahead(reinterpret_cast<const uint8_t *>(w + R * k), R * V::width * int64_t(sizeof(W)));
        typename V::F part[C];
        UNROLL for (int c = 0; c < C; c++) part[c] = V::load(x + c * p.x_stride + k);
        UNROLL for (int r = 0; r < R; r++) {
            const typename V::F row = V::load(w + r * p.w_stride + k);
            UNROLL for (int c = 0; c < C; c++) sum[r][c] = V::fma(row, part[c], sum[r][c]);
        }
    }
    if (k < p.K) {
        for (int c = 0; c < C; c++) {
            const typename V::F part = load_some(x + c * p.x_stride + k, p.K - k);
            for (int r = 0; r < R; r++) sum[r][c] = V::fma(load_some(w + r * p.w_stride + k, p.K - k), part, sum[r][c]);
        }
    }
    for (int c = 0; c < C; c++)
        for (int r = 0; r < R; r++) p.y[(t + c) * p.y_stride + n + r] = V::sum(sum[r][c]);
}

template <class W, int R>
inline void dot_rows(const Plain &p, int64_t n) {
    int64_t t = 0;
    for (; t + V::tokens <= p.T; t += V::tokens) dot_tile<W, R, V::tokens>(p, n, t);
    for (; t + 2 <= p.T; t += 2) dot_tile<W, R, 2>(p, n, t);
    if (t < p.T) dot_tile<W, R, 1>(p, n, t);
}

template <class W>
void linear(const Plain &p, int64_t first, int64_t last) {
    int64_t n = first;
    for (; n + 4 <= last; n += 4) dot_rows<W, 4>(p, n);
    for (; n < last; n++) dot_rows<W, 1>(p, n);
}

// ---- packed weights: a row's sum stays in its lane

inline void store_panel(const Packed &p, int64_t panel, int64_t t, const V::F *sums) {
    float *y = p.y + t * p.y_stride + panel * kPanel;
    const int64_t count = least(kPanel, p.N - panel * kPanel);
    if (count == kPanel) {
        UNROLL for (int h = 0; h < kHalves; h++) V::store(y + h * V::lanes, sums[h]);
        return;
    }
    float padded[kPanel];
    for (int h = 0; h < kHalves; h++) V::store(padded + h * V::lanes, sums[h]);
    for (int64_t i = 0; i < count; i++) y[i] = padded[i];
}

// Decided once a group, which costs less than three times the code.
inline V::F load_scale(const Packed &p, int64_t index) {
    if (p.scale_type == 0) return V::load(static_cast<const float *>(p.scales) + index);
    if (p.scale_type == 1) return V::load(static_cast<const Bf16 *>(p.scales) + index);
    return V::load(static_cast<const F16 *>(p.scales) + index);
}

struct Bits8 {
    static constexpr int64_t block_bytes = kPanel * kBlock;

    // `kept`: what `round_row` kept of each row's block.
    template <int C>
    static inline void dot(const uint8_t *w, const int8_t *a, int64_t a_stride, const int32_t *kept, int64_t kept_stride, V::I (&sum)[C][kHalves]) {
        UNROLL for (int c = 0; c < C; c++) UNROLL for (int h = 0; h < kHalves; h++) sum[c][h] = V::begin8(kept + c * kept_stride);
        for (int q = 0; q < kBlock / kQuad; q++) {
            typename V::W8 quad[kHalves];
            UNROLL for (int h = 0; h < kHalves; h++) quad[h] = V::load8(w + (q * kPanel + h * V::lanes) * kQuad);
            UNROLL for (int c = 0; c < C; c++) {
                const typename V::Quad four = V::broadcast(a + c * a_stride + q * kQuad);
                UNROLL for (int h = 0; h < kHalves; h++) sum[c][h] = V::dot8(sum[c][h], quad[h], four);
            }
        }
    }

    // The weights of column j (0 to 3) of quad q, one row a lane.
    static inline V::F column(const uint8_t *w, int q, int h, int j) { return V::byte_of(w + (q * kPanel + h * V::lanes) * kQuad, j); }
};

struct Bits4 {
    static constexpr int64_t block_bytes = kPanel * kBlock / 2;

    template <int C>
    static inline void dot(const uint8_t *w, const int8_t *a, int64_t a_stride, const int32_t *kept, int64_t kept_stride, V::I (&sum)[C][kHalves]) {
        typename V::Sum4 part[C][kHalves];
        UNROLL for (int c = 0; c < C; c++) UNROLL for (int h = 0; h < kHalves; h++) part[c][h] = V::begin4(kept + c * kept_stride);
        for (int q = 0; q < kBlock / kQuad; q += 2) {
            typename V::W4 low[kHalves], high[kHalves];
            UNROLL for (int h = 0; h < kHalves; h++) V::load4(w + (q / 2 * kPanel + h * V::lanes) * kQuad, low[h], high[h]);
            UNROLL for (int c = 0; c < C; c++) {
                const typename V::Quad first = V::broadcast(a + c * a_stride + q * kQuad);
                const typename V::Quad second = V::broadcast(a + c * a_stride + (q + 1) * kQuad);
                UNROLL for (int h = 0; h < kHalves; h++) part[c][h] = V::dot4(V::dot4(part[c][h], low[h], first), high[h], second);
            }
        }
        UNROLL for (int c = 0; c < C; c++) UNROLL for (int h = 0; h < kHalves; h++) sum[c][h] = V::total4(part[c][h]);
    }

    static inline V::F column(const uint8_t *w, int q, int h, int j) {
        return V::nibble_of(w + (q / 2 * kPanel + h * V::lanes) * kQuad, j, q % 2);
    }
};

template <class B, int C>
inline void rounded_tile(const Packed &p, int64_t panel, int64_t t) {
    const uint8_t *w = p.w + panel * p.blocks * B::block_bytes;
    int64_t scales = panel * p.groups * kPanel; // index of the group's first
    const int64_t a_stride = p.blocks * kBlock;
    const int8_t *a = p.rounded.a + t * a_stride;
    const float *a_scales = p.rounded.scales + t * p.blocks;
    const int32_t *kept = p.rounded.kept + t * p.blocks;
    typename V::F total[C][kHalves];
    UNROLL for (int c = 0; c < C; c++) UNROLL for (int h = 0; h < kHalves; h++) total[c][h] = V::zero();
    for (int64_t b = 0; b < p.blocks; scales += kPanel) {
        typename V::F scale[kHalves];
        UNROLL for (int h = 0; h < kHalves; h++) scale[h] = load_scale(p, scales + h * V::lanes);
        for (const int64_t end = least(b + p.blocks_per_group, p.blocks); b < end; b++, w += B::block_bytes) {
            if (C == 1) ask_ahead(w, B::block_bytes);
            typename V::I sum[C][kHalves];
            B::template dot<C>(w, a + b * kBlock, a_stride, kept + b, p.blocks, sum);
            UNROLL for (int c = 0; c < C; c++) {
                const typename V::F a_scale = V::set(a_scales[c * p.blocks + b]);
                UNROLL for (int h = 0; h < kHalves; h++) total[c][h] = V::fma(V::to_float(sum[c][h]), V::mul(scale[h], a_scale), total[c][h]);
            }
        }
    }
    UNROLL for (int c = 0; c < C; c++) store_panel(p, panel, t + c, total[c]);
}

template <class B, int C>
inline void exact_tile(const Packed &p, int64_t panel, int64_t t) {
    const uint8_t *w = p.w + panel * p.blocks * B::block_bytes;
    int64_t scales = panel * p.groups * kPanel; // index of the group's first
    const float *x = p.x + t * p.x_stride;
    typename V::F total[C][kHalves];
    UNROLL for (int c = 0; c < C; c++) UNROLL for (int h = 0; h < kHalves; h++) total[c][h] = V::zero();
    for (int64_t b = 0; b < p.blocks; scales += kPanel) {
        typename V::F sum[C][kHalves];
        UNROLL for (int c = 0; c < C; c++) UNROLL for (int h = 0; h < kHalves; h++) sum[c][h] = V::zero();
        for (const int64_t end = least(b + p.blocks_per_group, p.blocks); b < end; b++, w += B::block_bytes) {
            const int columns = int(least(kBlock, p.K - b * kBlock)); // x ends with K, not with a block
            for (int q = 0; q * kQuad < columns; q++)
                UNROLL for (int j = 0; j < kQuad; j++) {
                    if (q * kQuad + j >= columns) break;
                    UNROLL for (int h = 0; h < kHalves; h++) {
                        const typename V::F column = B::column(w, q, h, j);
                        const float *from = x + b * kBlock + q * kQuad + j;
                        UNROLL for (int c = 0; c < C; c++) sum[c][h] = V::fma(column, V::set(from[c * p.x_stride]), sum[c][h]);
                    }
                }
        }
        UNROLL for (int h = 0; h < kHalves; h++) {
            const typename V::F scale = load_scale(p, scales + h * V::lanes);
            UNROLL for (int c = 0; c < C; c++) total[c][h] = V::fma(sum[c][h], scale, total[c][h]);
        }
    }
    UNROLL for (int c = 0; c < C; c++) store_panel(p, panel, t + c, total[c]);
}

template <class B, bool exact, int C>
inline void packed_tile(const Packed &p, int64_t panel, int64_t t) {
    if constexpr (exact) exact_tile<B, C>(p, panel, t);
    else rounded_tile<B, C>(p, panel, t);
}

template <class B, bool exact>
void packed(const Packed &p, int64_t first, int64_t last) {
    for (int64_t panel = first; panel < last; panel++) {
        int64_t t = 0;
        for (; t + 4 <= p.T; t += 4) packed_tile<B, exact, 4>(p, panel, t);
        for (; t + 2 <= p.T; t += 2) packed_tile<B, exact, 2>(p, panel, t);
        if (t < p.T) packed_tile<B, exact, 1>(p, panel, t);
    }
}

// A block whose values are not all finite gets a scale of NaN: it reaches every output that it meets. One so small that 127 / largest would
// overflow becomes zeros, which errs by less than 1e-35.
void round_row(const float *x, int64_t K, int8_t *a, float *scales, int32_t *kept) {
    for (int64_t b = 0; b < blocks_of(K); b++, a += kBlock) {
        const int64_t count = least(kBlock, K - b * kBlock);
        float padded[kBlock] = {};
        const float *from = x + b * kBlock;
        if (count < kBlock) {
            for (int64_t i = 0; i < count; i++) padded[i] = from[i];
            from = padded;
        }
        const float largest = V::largest32(from);
        const bool is_finite = largest <= 3.4028234e38f, is_tiny = largest < 1e-35f;
        scales[b] = is_finite ? (is_tiny ? 0.0f : largest / 127.0f) : __builtin_nanf("");
        if (is_finite && !is_tiny) {
            kept[b] = V::kept(V::round32(from, 127.0f / largest, a));
        } else {
            for (int i = 0; i < kBlock; i++) a[i] = 0;
            kept[b] = 0;
        }
    }
}

// ---- rows

void rms_norm(const float *x, const float *w, float eps, float *y, int64_t D) {
    typename V::F squares = V::zero();
    int64_t d = 0;
    for (; d + V::width <= D; d += V::width) squares = V::fma(V::load(x + d), V::load(x + d), squares);
    if (d < D) squares = V::fma(load_some(x + d, D - d), load_some(x + d, D - d), squares);
    const float scale = 1.0f / __builtin_sqrtf(V::sum(squares) / float(D) + eps);
    const typename V::F scales = V::set(scale);
    for (d = 0; d + V::width <= D; d += V::width) {
        const typename V::F normal = V::mul(V::load(x + d), scales);
        V::store(y + d, w ? V::mul(normal, V::load(w + d)) : normal);
    }
    for (; d < D; d++) y[d] = w ? x[d] * scale * w[d] : x[d] * scale;
}

// exp to within 2 units in the last place: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2] (Cephes' coefficients). Infinite from 88.4 on,
// where n is 128, and at least e^-87: what silu divides by needs no more. NaN stays NaN.
inline V::F exponential(V::F x) {
    x = V::at_most(V::at_least(x, -87.0f), 89.0f);
    const typename V::F n = V::nearest(V::mul(x, V::set(1.44269504f)));
    typename V::F r = V::fma(n, V::set(-0.693359375f), x);
    r = V::fma(n, V::set(2.12194440e-4f), r);
    typename V::F e = V::set(1.9875691500e-4f);
    e = V::fma(e, r, V::set(1.3981999507e-3f));
    e = V::fma(e, r, V::set(8.3334519073e-3f));
    e = V::fma(e, r, V::set(4.1665795894e-2f));
    e = V::fma(e, r, V::set(1.6666665459e-1f));
    e = V::fma(e, r, V::set(5.0000001201e-1f));
    e = V::fma(e, V::mul(r, r), V::add(r, V::set(1.0f)));
    return V::times_power_of_two(e, n);
}

inline V::F gated(V::F gate, V::F up) {
    const typename V::F one = V::set(1.0f);
    return V::mul(V::div(gate, V::add(one, exponential(V::mul(gate, V::set(-1.0f))))), up);
}

void swiglu(const float *gate, const float *up, float *y, int64_t F) {
    int64_t f = 0;
    for (; f + V::width <= F; f += V::width) V::store(y + f, gated(V::load(gate + f), V::load(up + f)));
    if (f == F) return;
    float padded[V::width];
    V::store(padded, gated(load_some(gate + f, F - f), load_some(up + f, F - f)));
    for (int64_t i = 0; f + i < F; i++) y[f + i] = padded[i];
}

#include "attention.inl"

#define PUNA_KERNELS(isa)                                                                                                                  \
    {isa,                                                                                                                                  \
     {linear<float>, linear<Bf16>},                                                                                                        \
     {{packed<Bits4, false>, packed<Bits4, true>}, {packed<Bits8, false>, packed<Bits8, true>}},                                           \
     round_row,                                                                                                                            \
     rms_norm,                                                                                                                             \
     swiglu,                                                                                                                               \
     attend,                                                                                                                               \
     keep,                                                                                                                                 \
     rotate}
