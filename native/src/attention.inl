// Attention over pages, written once over V like kernels.inl, which includes it. Keys come in blocks of kSpan, counted from the piece's
// first key, and a row's softmax moves from block to block; a product's sums run in one order whatever the tile. So a row's bits depend on
// its query and its keys, never on how pages lie or on the rows that share its call: decoding gives those of prefill.
//
// Many rows (a prompt) share keys and values that are widened to fp32 once a block; few (a token's heads) read them where they lie.

constexpr int64_t kSpan = 64; // keys in a block

inline float wide(float x) { return x; }
inline float wide(Bf16 x) {
    const uint32_t bits = uint32_t(x.bits) << 16;
    float value;
    __builtin_memcpy(&value, &bits, 4);
    return value;
}

// To the nearest, ties to even; a NaN stays one.
inline Bf16 narrow(float x) {
    uint32_t bits;
    __builtin_memcpy(&bits, &x, 4);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return {uint16_t(bits >> 16 | 64)};
    return {uint16_t((bits + 0x7fffu + (bits >> 16 & 1)) >> 16)};
}

// y[rows, columns] += a[rows, inner] @ b[inner, columns]: R rows at a time, W vectors side by side.
template <int R, int W>
inline void outer_tile(const float *a, int64_t a_stride, const float *b, int64_t b_stride, float *y, int64_t y_stride, int64_t inner) {
    typename V::F sum[R][W];
    UNROLL for (int r = 0; r < R; r++) UNROLL for (int w = 0; w < W; w++) sum[r][w] = V::load(y + r * y_stride + w * V::width);
    for (int64_t i = 0; i < inner; i++) {
        typename V::F row[W];
        UNROLL for (int w = 0; w < W; w++) row[w] = V::load(b + i * b_stride + w * V::width);
        UNROLL for (int r = 0; r < R; r++) {
            const typename V::F one = V::set(a[r * a_stride + i]);
            UNROLL for (int w = 0; w < W; w++) sum[r][w] = V::fma(one, row[w], sum[r][w]);
        }
    }
    UNROLL for (int r = 0; r < R; r++) UNROLL for (int w = 0; w < W; w++) V::store(y + r * y_stride + w * V::width, sum[r][w]);
}

// Columns that fill no vector: b and y are read and written through padded copies.
template <int R>
inline void outer_end(const float *a, int64_t a_stride, const float *b, int64_t b_stride, float *y, int64_t y_stride, int64_t inner, int64_t columns) {
    float sums[R][V::width] = {};
    for (int r = 0; r < R; r++)
        for (int64_t c = 0; c < columns; c++) sums[r][c] = y[r * y_stride + c];
    typename V::F sum[R];
    for (int r = 0; r < R; r++) sum[r] = V::load(sums[r]);
    for (int64_t i = 0; i < inner; i++) {
        const typename V::F row = load_some(b + i * b_stride, columns);
        for (int r = 0; r < R; r++) sum[r] = V::fma(V::set(a[r * a_stride + i]), row, sum[r]);
    }
    for (int r = 0; r < R; r++) {
        V::store(sums[r], sum[r]);
        for (int64_t c = 0; c < columns; c++) y[r * y_stride + c] = sums[r][c];
    }
}

// R * W sums at once: enough that no addition waits for the one before.
template <int R, int W>
inline void outer_rows(const float *a, int64_t a_stride, const float *b, int64_t b_stride, float *y, int64_t y_stride, int64_t inner,
                       int64_t columns) {
    int64_t c = 0;
    for (; c + W * V::width <= columns; c += W * V::width) outer_tile<R, W>(a, a_stride, b + c, b_stride, y + c, y_stride, inner);
    for (; c + V::width <= columns; c += V::width) outer_tile<R, 1>(a, a_stride, b + c, b_stride, y + c, y_stride, inner);
    if (c < columns) outer_end<R>(a, a_stride, b + c, b_stride, y + c, y_stride, inner, columns - c);
}

inline void outer(const float *a, int64_t a_stride, const float *b, int64_t b_stride, float *y, int64_t y_stride, int64_t rows, int64_t inner,
                  int64_t columns) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) outer_rows<4, 2>(a + r * a_stride, a_stride, b, b_stride, y + r * y_stride, y_stride, inner, columns);
    for (; r + 2 <= rows; r += 2) outer_rows<2, 4>(a + r * a_stride, a_stride, b, b_stride, y + r * y_stride, y_stride, inner, columns);
    if (r < rows) outer_rows<1, kSpan / V::width < 8 ? kSpan / V::width : 8>(a + r * a_stride, a_stride, b, b_stride, y + r * y_stride, y_stride, inner, columns);
}

// A head's row of H numbers in *kernel order*: natural, but that bf16 comes two vectors at a time, numbers at even places first. Taking those
// apart costs one load and two operations for 2 * width numbers. Queries and outputs stand in the same order meanwhile.
constexpr int64_t kPair = 2 * V::width;

template <class X>
struct Order {
    static constexpr bool splits = false;
};
template <>
struct Order<Bf16> {
    static constexpr bool splits = true;
};

inline void load_pair(const float *from, float, V::F &first, V::F &second) { first = V::load(from), second = V::load(from + V::width); }
inline void load_pair(const Bf16 *from, float, V::F &first, V::F &second) { V::split(from, first, second); }
inline void load_pair(const int8_t *from, float scale, V::F &first, V::F &second) {
    first = V::mul(V::load(from), V::set(scale)), second = V::mul(V::load(from + V::width), V::set(scale));
}

// `count` numbers, fewer than a pair of vectors has, in natural order; what is missing in a vector is zero. int8's scale belongs to the row.
inline V::F load_rest(const float *from, float, int64_t count) { return count < V::width ? load_some(from, count) : V::load(from); }
inline V::F load_rest(const Bf16 *from, float, int64_t count) { return count < V::width ? load_some(from, count) : V::load(from); }
inline V::F load_rest(const int8_t *from, float scale, int64_t count) {
    return V::mul(count < V::width ? load_some(from, count) : V::load(from), V::set(scale));
}

template <class X>
inline void into_order(const float *from, int64_t H, float by, float *to) {
    int64_t h = 0;
    if (Order<X>::splits)
        for (; h + kPair <= H; h += kPair)
            for (int i = 0; i < V::width; i++) to[h + i] = from[h + 2 * i] * by, to[h + V::width + i] = from[h + 2 * i + 1] * by;
    for (; h < H; h++) to[h] = from[h] * by;
}

template <class X>
inline void out_of_order(const float *from, int64_t H, float by, float *to) {
    int64_t h = 0;
    if (Order<X>::splits)
        for (; h + kPair <= H; h += kPair)
            for (int i = 0; i < V::width; i++) to[h + 2 * i] = from[h + i] * by, to[h + 2 * i + 1] = from[h + V::width + i] * by;
    for (; h < H; h++) to[h] = from[h] * by;
}

// A block's rows, as their places among the head's rows, and those of the next block: pages lie anywhere, so no processor guesses what comes,
// and whoever reads a row asks for its place in the next block meanwhile. All at once would fill the processor's list of what it waits for.
struct Span {
    int64_t count = 0, places[kSpan], next[kSpan];

    void find(const Attend &p, int64_t first, int64_t *to) {
        int64_t page = first / p.per_page, inside = first % p.per_page;
        const int64_t some = least(kSpan, p.num_keys - first);
        for (int64_t s = 0; s < some; page++, inside = 0) {
            const int64_t from = p.pages[page] * p.per_page + inside, end = least(s + p.per_page - inside, some);
            for (int64_t i = 0; s < end; s++, i++) to[s] = from + i;
        }
    }

    void move_to(const Attend &p, int64_t first) {
        count = least(kSpan, p.num_keys - first);
        if (first == 0) find(p, 0, places);
        else __builtin_memcpy(places, next, sizeof places);
        const int64_t more = p.num_keys - (first + kSpan);
        for (int64_t s = more > 0 ? least(more, kSpan) : 0; s < count; s++) next[s] = places[s];
        if (more > 0) find(p, first + kSpan, next);
    }
};

inline void scales_of(const float *scales, const Span &span, float *to) {
    for (int64_t s = 0; s < span.count; s++) to[s] = scales == nullptr ? 1.0f : scales[span.places[s]];
}

template <class X>
inline void ask_for(const X *row, int64_t H) {
    for (int64_t h = 0; h < H; h += 64 / int64_t(sizeof(X))) __builtin_prefetch(row + h, 0, 2);
}

// Rows as fp32 [count, H], in kernel order.
template <class X>
inline void gather(const X *data, int64_t H, const Span &span, const float *scales, float *to) {
    for (int64_t s = 0; s < span.count; s++, to += H) {
        const X *from = data + span.places[s] * H;
        ask_for(data + span.next[s] * H, H);
        int64_t h = 0;
        for (; h + kPair <= H; h += kPair) {
            typename V::F first, second;
            load_pair(from + h, scales[s], first, second);
            V::store(to + h, first), V::store(to + h + V::width, second);
        }
        for (; h + V::width <= H; h += V::width) V::store(to + h, load_rest(from + h, scales[s], V::width));
        if (h == H) continue;
        float padded[V::width];
        V::store(padded, load_rest(from + h, scales[s], H - h));
        for (int64_t i = 0; h + i < H; i++) to[h + i] = padded[i];
    }
}

// Scores of R rows of q with C gathered keys. A score's sum runs along H in its own vector, whatever the tile.
template <int R, int C>
inline void score_tile(const float *q, const float *keys, int64_t H, float *scores) {
    typename V::F sum[R][C];
    UNROLL for (int r = 0; r < R; r++) UNROLL for (int c = 0; c < C; c++) sum[r][c] = V::zero();
    int64_t h = 0;
    for (; h + V::width <= H; h += V::width) {
        typename V::F rows[R];
        UNROLL for (int r = 0; r < R; r++) rows[r] = V::load(q + r * H + h);
        UNROLL for (int c = 0; c < C; c++) {
            const typename V::F key = V::load(keys + c * H + h);
            UNROLL for (int r = 0; r < R; r++) sum[r][c] = V::fma(rows[r], key, sum[r][c]);
        }
    }
    if (h < H)
        for (int c = 0; c < C; c++) {
            const typename V::F key = load_some(keys + c * H + h, H - h);
            for (int r = 0; r < R; r++) sum[r][c] = V::fma(load_some(q + r * H + h, H - h), key, sum[r][c]);
        }
    UNROLL for (int r = 0; r < R; r++) {
        if constexpr (C == 4) V::sum4(sum[r], scores + r * kSpan);
        else UNROLL for (int c = 0; c < C; c++) scores[r * kSpan + c] = V::sum(sum[r][c]);
    }
}

template <int R>
inline void score_rows(const float *q, const float *keys, int64_t H, int64_t count, float *scores) {
    int64_t s = 0;
    for (; s + 4 <= count; s += 4) score_tile<R, 4>(q, keys + s * H, H, scores + s);
    for (; s < count; s++) score_tile<R, 1>(q, keys + s * H, H, scores + s);
}

inline void score(const float *q, const float *keys, int64_t H, int64_t rows, int64_t count, float *scores) {
    int64_t r = 0;
    for (; r + 3 <= rows; r += 3) score_rows<3>(q + r * H, keys, H, count, scores + r * kSpan); // 12 sums, 3 parts of q, one of a key
    for (; r < rows; r++) score_rows<1>(q + r * H, keys, H, count, scores + r * kSpan);
}

// The same scores for few rows, keys read where they lie.
template <class X, int R>
inline void score_few(const float *q, const X *data, int64_t H, const Span &span, const float *scales, float *scores) {
    for (int64_t s = 0; s < span.count; s++) {
        const X *key = data + span.places[s] * H;
        ask_for(data + span.next[s] * H, H);
        typename V::F sum[R];
        UNROLL for (int r = 0; r < R; r++) sum[r] = V::zero();
        int64_t h = 0;
        for (; h + kPair <= H; h += kPair) {
            typename V::F first, second;
            load_pair(key + h, scales[s], first, second);
            UNROLL for (int r = 0; r < R; r++) sum[r] = V::fma(V::load(q + r * H + h), first, sum[r]);
            UNROLL for (int r = 0; r < R; r++) sum[r] = V::fma(V::load(q + r * H + h + V::width), second, sum[r]);
        }
        for (; h < H; h += V::width) {
            const int64_t some = least(V::width, H - h);
            const typename V::F part = load_rest(key + h, scales[s], some);
            UNROLL for (int r = 0; r < R; r++) sum[r] = V::fma(load_rest(q + r * H + h, 1.0f, some), part, sum[r]);
        }
        float sums[R];
        if constexpr (R == 4) V::sum4(sum, sums);
        else UNROLL for (int r = 0; r < R; r++) sums[r] = V::sum(sum[r]);
        UNROLL for (int r = 0; r < R; r++) scores[r * kSpan + s] = sums[r];
    }
}

// out += weights @ values for few rows, values read where they lie.
template <class X, int R>
inline void add_few(const float *weights, const X *data, int64_t H, const Span &span, const float *scales, float *out) {
    int64_t h = 0;
    for (; h + kPair <= H; h += kPair) {
        typename V::F sum[R][2];
        UNROLL for (int r = 0; r < R; r++) sum[r][0] = V::load(out + r * H + h), sum[r][1] = V::load(out + r * H + h + V::width);
        for (int64_t s = 0; s < span.count; s++) {
            typename V::F first, second;
            load_pair(data + span.places[s] * H + h, scales[s], first, second);
            __builtin_prefetch(data + span.next[s] * H + h, 0, 2);
            UNROLL for (int r = 0; r < R; r++) {
                const typename V::F one = V::set(weights[r * kSpan + s]);
                sum[r][0] = V::fma(one, first, sum[r][0]), sum[r][1] = V::fma(one, second, sum[r][1]);
            }
        }
        UNROLL for (int r = 0; r < R; r++) V::store(out + r * H + h, sum[r][0]), V::store(out + r * H + h + V::width, sum[r][1]);
    }
    for (; h < H; h += V::width) {
        const int64_t some = least(V::width, H - h);
        for (int r = 0; r < R; r++) {
            typename V::F sum = load_rest(out + r * H + h, 1.0f, some);
            for (int64_t s = 0; s < span.count; s++)
                sum = V::fma(V::set(weights[r * kSpan + s]), load_rest(data + span.places[s] * H + h, scales[s], some), sum);
            float sums[V::width];
            V::store(sums, sum);
            for (int64_t i = 0; i < some; i++) out[r * H + h + i] = sums[i];
        }
    }
}

// Calls body.of<R>(first row) for all rows, four at a time.
template <class Body>
inline void by_fours(int64_t from, int64_t rows, const Body &body) {
    for (; from + 4 <= rows; from += 4) body.template of<4>(from);
    if (rows - from == 3) body.template of<3>(from);
    else if (rows - from == 2) body.template of<2>(from);
    else if (rows - from == 1) body.template of<1>(from);
}

template <class X>
struct ScoreFew {
    const float *q;
    const X *keys;
    int64_t H;
    const Span &span;
    const float *scales;
    float *scores;
    template <int R>
    void of(int64_t r) const {
        score_few<X, R>(q + r * H, keys, H, span, scales, scores + r * kSpan);
    }
};

template <class X>
struct AddFew {
    const float *weights;
    const X *values;
    int64_t H;
    const Span &span;
    const float *scales;
    float *out;
    template <int R>
    void of(int64_t r) const {
        add_few<X, R>(weights + r * kSpan, values, H, span, scales, out + r * H);
    }
};

// The scores of one row become weights: those of its first `count` keys, the others 0. What came before is scaled down to the new maximum.
inline void soften(float *scores, int64_t count, float &most, float &total, float *out, int64_t H) {
    for (int64_t s = count; s < kSpan; s++) scores[s] = -1e30f;
    typename V::F peak = V::load(scores);
    for (int64_t s = V::width; s < kSpan; s += V::width) peak = V::larger(peak, V::load(scores + s));
    float peaks[V::width];
    V::store(peaks, peak);
    float largest = most;
    for (int i = 0; i < V::width; i++) largest = peaks[i] > largest ? peaks[i] : largest; // a NaN stays in its score, and so reaches the output
    const typename V::F shift = V::set(-largest);
    typename V::F sums = V::zero();
    for (int64_t s = 0; s < kSpan; s += V::width) {
        const typename V::F weight = exponential(V::add(V::load(scores + s), shift));
        V::store(scores + s, weight);
        if (s + V::width <= count) sums = V::add(sums, weight);
    }
    for (int64_t s = count; s < kSpan; s++) scores[s] = 0; // not quite 0 as computed
    if (count % V::width) sums = V::add(sums, V::load(scores + count / V::width * V::width));
    if (largest != most) {
        float down[V::width];
        V::store(down, exponential(V::set(most - largest)));
        if (most == -__builtin_inff()) down[0] = 0;
        total *= down[0];
        const typename V::F by = V::set(down[0]);
        int64_t h = 0;
        for (; h + V::width <= H; h += V::width) V::store(out + h, V::mul(V::load(out + h), by));
        for (; h < H; h++) out[h] *= down[0];
        most = largest;
    }
    total += V::sum(sums);
}

constexpr int64_t kFew = 8; // rows, for which widening keys and values again for every four costs less than keeping them widened

template <class X>
inline void attend_to(const Attend &p) {
    const int64_t R = p.tokens * p.groups, H = p.H;
    const X *key_data = static_cast<const X *>(p.keys), *value_data = static_cast<const X *>(p.values);
    float *q = p.scratch, *keys = q + R * H, *values = keys + kSpan * H, *scores = values + kSpan * H, *most = scores + R * kSpan;
    float *total = most + R, *out = total + R;
    Span span;
    float scales[kSpan];
    for (int64_t t = 0; t < p.tokens; t++)
        for (int64_t g = 0; g < p.groups; g++) into_order<X>(p.q + t * p.q_stride + g * H, H, p.scale, q + (t * p.groups + g) * H);
    for (int64_t r = 0; r < R; r++) most[r] = -__builtin_inff(), total[r] = 0;
    for (int64_t i = 0; i < R * H; i++) out[i] = 0;
    for (int64_t first = 0; first < p.num_keys; first += kSpan) {
        const int64_t count = least(kSpan, p.num_keys - first);
        // Rows that see none of these keys come first: query t sees the keys up to num_keys - tokens + t.
        const int64_t blind = first - (p.num_keys - p.tokens), from = blind > 0 ? blind * p.groups : 0;
        span.move_to(p, first);
        scales_of(p.key_scales, span, scales);
        if (R <= kFew) {
            by_fours(from, R, ScoreFew<X>{q, key_data, H, span, scales, scores});
        } else {
            gather(key_data, H, span, scales, keys);
            score(q + from * H, keys, H, R - from, count, scores + from * kSpan);
        }
        for (int64_t r = from; r < R; r++) {
            const int64_t seen = p.num_keys - p.tokens + r / p.groups + 1 - first;
            soften(scores + r * kSpan, least(seen, count), most[r], total[r], out + r * H, H);
        }
        scales_of(p.value_scales, span, scales);
        if (R <= kFew) {
            by_fours(from, R, AddFew<X>{scores, value_data, H, span, scales, out});
        } else {
            gather(value_data, H, span, scales, values);
            outer(scores + from * kSpan, kSpan, values, H, out + from * H, H, R - from, count, H);
        }
    }
    for (int64_t t = 0; t < p.tokens; t++)
        for (int64_t g = 0; g < p.groups; g++) {
            const int64_t r = t * p.groups + g;
            out_of_order<X>(out + r * H, H, 1.0f / total[r], p.out + t * p.out_stride + g * H);
        }
}

void attend(const Attend &p) {
    if (p.type == 0) attend_to<float>(p);
    else if (p.type == 1) attend_to<Bf16>(p);
    else attend_to<int8_t>(p);
}

// Keeps one head's row of H numbers at `place` (page * per_page + place within it).
void keep(const float *x, int64_t H, void *data, float *scales, int type, int64_t place) {
    if (type == 0) {
        __builtin_memcpy(static_cast<float *>(data) + place * H, x, H * int64_t(sizeof(float)));
    } else if (type == 1) {
        Bf16 *to = static_cast<Bf16 *>(data) + place * H;
        for (int64_t h = 0; h < H; h++) to[h] = narrow(x[h]);
    } else {
        int8_t *to = static_cast<int8_t *>(data) + place * H;
        float largest = 0;
        for (int64_t h = 0; h < H; h++) {
            const float size = __builtin_fabsf(x[h]);
            if (size > largest || size != size) largest = size; // a NaN stays
        }
        const float scale = largest / 127.0f, by = scale > 1e-30f ? scale : 1e-30f;
        scales[place] = scale;
        for (int64_t h = 0; h < H; h++) {
            const float rounded = __builtin_rintf(x[h] / by);
            to[h] = rounded > 127.0f ? 127 : rounded >= -127.0f ? int8_t(rounded) : -127;
        }
    }
}

// Rotates a head's pairs (2j, 2j + 1) by the angles whose cosines and sines are given.
void rotate(float *x, const float *cosines, const float *sines, int64_t H) {
    for (int64_t j = 0; j < H / 2; j++) {
        const float even = x[2 * j], odd = x[2 * j + 1];
        x[2 * j] = even * cosines[j] - odd * sines[j];
        x[2 * j + 1] = even * sines[j] + odd * cosines[j];
    }
}
