// Attention over pages, written once over V like kernels.inl, which includes it. Keys come in blocks of kSpan, counted from the piece's
// first key, and a row's softmax moves from block to block; a product's sums run in one order whatever the tile. So a row's bits depend on
// its query and its keys, never on how pages lie or on the rows that share its call: decoding gives those of prefill.

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

// Numbers of a head's row as they are stored, widened. int8's scale belongs to the row.
inline V::F row_part(const float *from, float) { return V::load(from); }
inline V::F row_part(const Bf16 *from, float) { return V::load(from); }
inline V::F row_part(const int8_t *from, float scale) {
    float wider[V::width];
    for (int i = 0; i < V::width; i++) wider[i] = float(from[i]) * scale;
    return V::load(wider);
}
inline float row_number(const float *from, float) { return *from; }
inline float row_number(const Bf16 *from, float) { return wide(*from); }
inline float row_number(const int8_t *from, float scale) { return float(*from) * scale; }

// Where the rows of the keys `first` to `first + count` lie, and their scales: page after page.
inline void find_rows(const Attend &p, const float *scales, int64_t first, int64_t count, int64_t *places, float *row_scales) {
    for (int64_t s = 0; s < count; s++) {
        const int64_t place = first + s;
        places[s] = p.pages[place / p.per_page] * p.per_page + place % p.per_page;
        row_scales[s] = scales == nullptr ? 1.0f : scales[places[s]];
    }
}

// Pages lie anywhere: no processor guesses the next one by itself. Asks for the rows of the next block, into the second level of cache.
template <class X>
inline void call_ahead(const Attend &p, const X *keys, const X *values, int64_t first) {
    const int64_t last = least(first + kSpan, p.num_keys), step = 64 / int64_t(sizeof(X));
    for (int64_t s = first; s < last;) {
        const int64_t inside = s % p.per_page, some = least(p.per_page - inside, last - s);
        const int64_t from = (p.pages[s / p.per_page] * p.per_page + inside) * p.H, end = from + some * p.H;
        for (int64_t i = from; i < end; i += step) __builtin_prefetch(keys + i, 0, 2), __builtin_prefetch(values + i, 0, 2);
        s += some;
    }
}

// Values as fp32 rows [count, H].
template <class X>
inline void gather(const X *data, int64_t H, const int64_t *places, const float *scales, int64_t count, float *to) {
    for (int64_t s = 0; s < count; s++) {
        const X *from = data + places[s] * H;
        int64_t h = 0;
        for (; h + V::width <= H; h += V::width) V::store(to + s * H + h, row_part(from + h, scales[s]));
        for (; h < H; h++) to[s * H + h] = row_number(from + h, scales[s]);
    }
}

// Keys as fp32 columns [H, kSpan]; those behind `count` are zeros.
template <class X>
inline void gather_turned(const X *data, int64_t H, const int64_t *places, const float *scales, int64_t count, float *to) {
    int64_t s = 0;
    for (; s + V::width <= count; s += V::width) {
        int64_t h = 0;
        for (; h + V::width <= H; h += V::width) {
            typename V::F block[V::width];
            UNROLL for (int i = 0; i < V::width; i++) block[i] = row_part(data + places[s + i] * H + h, scales[s + i]);
            V::turn(block);
            UNROLL for (int i = 0; i < V::width; i++) V::store(to + (h + i) * kSpan + s, block[i]);
        }
        for (; h < H; h++)
            for (int i = 0; i < V::width; i++) to[h * kSpan + s + i] = row_number(data + places[s + i] * H + h, scales[s + i]);
    }
    for (; s < kSpan; s++)
        for (int64_t h = 0; h < H; h++) to[h * kSpan + s] = s < count ? row_number(data + places[s] * H + h, scales[s]) : 0.0f;
}

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

template <class X>
inline void attend_to(const Attend &p) {
    const int64_t R = p.tokens * p.groups, H = p.H;
    const X *key_data = static_cast<const X *>(p.keys), *value_data = static_cast<const X *>(p.values);
    float *q = p.scratch, *keys = q + R * H, *values = keys + kSpan * H, *scores = values + kSpan * H, *most = scores + R * kSpan;
    float *total = most + R, *out = total + R;
    int64_t places[kSpan];
    float scales[kSpan];
    for (int64_t t = 0; t < p.tokens; t++)
        for (int64_t i = 0; i < p.groups * H; i++) q[t * p.groups * H + i] = p.q[t * p.q_stride + i] * p.scale;
    for (int64_t r = 0; r < R; r++) most[r] = -__builtin_inff(), total[r] = 0;
    for (int64_t i = 0; i < R * H; i++) out[i] = 0;
    for (int64_t first = 0; first < p.num_keys; first += kSpan) {
        const int64_t count = least(kSpan, p.num_keys - first);
        // Rows that see none of these keys come first: query t sees the keys up to num_keys - tokens + t.
        const int64_t blind = first - (p.num_keys - p.tokens), from = blind > 0 ? blind * p.groups : 0;
        find_rows(p, p.key_scales, first, count, places, scales);
        gather_turned(key_data, H, places, scales, count, keys);
        for (int64_t i = from * kSpan; i < R * kSpan; i++) scores[i] = 0;
        outer(q + from * H, H, keys, kSpan, scores + from * kSpan, kSpan, R - from, H, kSpan);
        for (int64_t r = from; r < R; r++) {
            const int64_t seen = p.num_keys - p.tokens + r / p.groups + 1 - first;
            soften(scores + r * kSpan, least(seen, count), most[r], total[r], out + r * H, H);
        }
        call_ahead(p, key_data, value_data, first + kSpan);
        if (p.value_scales != nullptr) find_rows(p, p.value_scales, first, count, places, scales);
        gather(value_data, H, places, scales, count, values);
        outer(scores + from * kSpan, kSpan, values, H, out + from * H, H, R - from, count, H);
    }
    for (int64_t t = 0; t < p.tokens; t++)
        for (int64_t g = 0; g < p.groups; g++) {
            const int64_t r = t * p.groups + g;
            const float share = 1.0f / total[r];
            for (int64_t h = 0; h < H; h++) p.out[t * p.out_stride + g * H + h] = out[r * H + h] * share;
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
