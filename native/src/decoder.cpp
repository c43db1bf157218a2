// A whole text decoder in one call. A layer is five rounds of work among the threads (projections, attention, output, gate and up, down)
// with row-wise steps between them; for a single token those run in the caller, since waking a second thread would cost more.
//
// Letters as in the interface; F a feed-forward width.
#include "packed.h"
#include "pool.h"
#include "puna_native.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

namespace puna {
namespace {

constexpr int64_t kRowsAtOnce = 128;    // activations that a thread takes through a panel while they are in its cache
constexpr int64_t kPiecesPerThread = 4; // so that a thread whose core is taken away holds up little
constexpr int64_t kQueryRows = 128;     // query rows (tokens x heads of a group) that share the keys that were read
constexpr int64_t kFewElements = 16384; // row-wise work below this stays in the caller

int64_t divided(int64_t a, int64_t b) { return (a + b - 1) / b; }

bool is_packed(const puna_weight &w) { return w.type == PUNA_INT4 || w.type == PUNA_INT8; }

// Floats that lie together on the heap, grown but never copied.
class Room {
public:
    ~Room() { std::free(start_); }
    Room() = default;
    Room(const Room &) = delete;
    Room &operator=(const Room &) = delete;

    uint8_t *of(int64_t bytes) {
        if (bytes > size_) {
            std::free(start_);
            const size_t wanted = (size_t(bytes) + 63) / 64 * 64;
            start_ = static_cast<uint8_t *>(std::aligned_alloc(64, wanted));
            size_ = start_ == nullptr ? 0 : int64_t(wanted);
        }
        return start_;
    }

private:
    uint8_t *start_ = nullptr;
    int64_t size_ = 0;
};

// What a thread needs for one item of work. Threads live as long as the process, and so does this.
float *thread_scratch(int64_t floats) {
    thread_local Room room;
    return reinterpret_cast<float *>(room.of(floats * int64_t(sizeof(float))));
}

// Rows of activations: fp32, rounded to 8 bits too where packed weights will meet them.
struct Rows {
    float *x = nullptr;
    int64_t stride = 0;
    Rounded rounded{};

    Rounded rounded_from(int64_t t, int64_t K) const {
        const int64_t blocks = blocks_of(K);
        return rounded.a == nullptr ? Rounded{} : Rounded{rounded.a + t * blocks * kBlock, rounded.scales + t * blocks, rounded.kept + t * blocks};
    }
};

// One product of a round: rows `first` to `first + rows` of `in` with a weight, or with one expert's part of it.
struct Product {
    const puna_weight *w;
    int64_t expert;
    const Rows *in;
    int64_t first, rows;
};

// Outputs of panels `begin` to `end` for `rows` rows from row `t` of the product's own on; y points at panel `begin` of the first of them.
void multiply(const Kernels &use, const Product &p, bool exact, int64_t t, int64_t rows, int64_t begin, int64_t end, float *y, int64_t y_stride) {
    const puna_weight &w = *p.w;
    const float *x = p.in->x + (p.first + t) * p.in->stride;
    const auto *data = static_cast<const uint8_t *>(w.data) + p.expert * w.expert_bytes;
    float *base = y - begin * kPanel;
    if (!is_packed(w)) {
        const Plain plain{x, p.in->stride, data, w.K, base, y_stride, rows, w.K};
        use.linear[w.type](plain, begin * kPanel, std::min(end * kPanel, w.N));
        return;
    }
    const int64_t blocks = blocks_of(w.K), groups = w.K / w.group;
    const Packed packed{x, p.in->stride, p.in->rounded_from(p.first + t, w.K), data,
                        static_cast<const uint8_t *>(w.scales) + p.expert * w.expert_scale_bytes, w.scale_type, blocks, groups, blocks_of(w.group),
                        base, y_stride, rows, w.N, w.K};
    use.packed[w.type == PUNA_INT8][exact](packed, begin, end);
}

// Cuts products into items of some panels and some rows, and calls body(product, first row, rows, first panel, last panel) for each.
template <class Body>
void for_each_item(const std::vector<Product> &products, const Body &body) {
    struct Cut {
        int64_t items, panels, row_steps;
    };
    thread_local std::vector<Cut> cuts;
    cuts.resize(products.size());
    int64_t work = 0;
    for (const Product &p : products) work += p.w->N * p.w->K * (4 + p.rows);
    const int64_t share = std::max<int64_t>(work / (threads() * kPiecesPerThread), 1 << 16);
    int64_t total = 0;
    for (size_t i = 0; i < products.size(); i++) {
        const Product &p = products[i];
        const int64_t panels = panels_of(p.w->N), row_steps = divided(p.rows, kRowsAtOnce);
        const int64_t own = p.w->N * p.w->K * (4 + std::min(p.rows, kRowsAtOnce));
        int64_t pieces = std::clamp<int64_t>(divided(own, share), 1, divided(panels, 2));
        const int64_t step = divided(divided(panels, pieces), 2) * 2; // pairs of panels: outputs in whole blocks of 32
        pieces = divided(panels, step);
        cuts[i] = {pieces * row_steps, step, row_steps};
        total += cuts[i].items;
    }
    const std::vector<Cut> &all = cuts;
    for_each(total, [&](int64_t item) {
        size_t i = 0;
        while (item >= all[i].items) item -= all[i++].items;
        const Product &p = products[i];
        const int64_t t = item % all[i].row_steps * kRowsAtOnce, begin = item / all[i].row_steps * all[i].panels;
        body(p, t, std::min(kRowsAtOnce, p.rows - t), begin, std::min(begin + all[i].panels, panels_of(p.w->N)));
    });
}

template <class Body>
void for_rows(int64_t T, int64_t width, const Body &body) {
    if (T * width < kFewElements) {
        for (int64_t t = 0; t < T; t++) body(t);
        return;
    }
    const int64_t step = divided(T, threads() * kPiecesPerThread);
    for_each(divided(T, step), [&](int64_t i) {
        for (int64_t t = i * step; t < std::min(T, (i + 1) * step); t++) body(t);
    });
}

void round_row(const Kernels &use, const Rows &rows, int64_t t, int64_t K) {
    if (rows.rounded.a == nullptr) return;
    const Rounded to = rows.rounded_from(t, K);
    use.round_row(rows.x + t * rows.stride, K, to.a, to.scales, to.kept);
}

int32_t check_weight(const puna_weight &w, int64_t N, int64_t K) {
    if (w.data == nullptr) return PUNA_BAD_POINTER;
    if (w.N != N || w.K != K) return PUNA_BAD_SHAPE;
    if (w.type == PUNA_F32 || w.type == PUNA_BF16) return PUNA_OK;
    if (!is_packed(w) || w.scale_type < PUNA_F32 || w.scale_type > PUNA_F16) return PUNA_BAD_TYPE;
    if (w.scales == nullptr) return PUNA_BAD_POINTER;
    return w.group < 1 || K % w.group || (w.group != K && w.group % kBlock) ? PUNA_BAD_SHAPE : PUNA_OK;
}

} // namespace
} // namespace puna

using namespace puna;

struct puna_decoder {
    puna_decoder_shape shape;
    std::vector<puna_layer> layers;
    std::vector<double> frequencies;
    std::vector<float> norm;
    Room room;
    std::vector<Product> products;
    std::vector<int64_t> chosen, order, place, offsets; // of a layer's rows: expert; rows by expert; a row's place in that; where experts begin
    std::vector<float> scores;
    int64_t widest_dense = 0, widest_expert = 0;

    // The workspace of a step.
    Rows normed, attended, routed, dense_act, expert_act;
    float *q = nullptr, *k = nullptr, *v = nullptr, *from_dense = nullptr, *from_experts = nullptr, *logits = nullptr;
    float *cosines = nullptr, *sines = nullptr, *temperatures = nullptr;

    int32_t check() {
        const puna_decoder_shape &s = shape;
        if (s.num_layers < 1 || s.width < 1 || s.num_heads < 1 || s.num_kv_heads < 1 || s.num_heads % s.num_kv_heads || s.head_width < 2 || s.head_width % 2 ||
            s.num_experts < 0)
            return PUNA_BAD_SHAPE;
        if (s.chunk < 0 || !(s.floor_scale > 0)) return PUNA_BAD_SHAPE;
        if (s.norm == nullptr || s.layers == nullptr || s.frequencies == nullptr) return PUNA_BAD_POINTER;
        frequencies.assign(s.frequencies, s.frequencies + s.head_width / 2);
        norm.assign(s.norm, s.norm + s.width);
        const int64_t D = s.width, QH = s.num_heads * s.head_width, KH = s.num_kv_heads * s.head_width;
        for (const puna_layer &l : layers) {
            if (l.attention_norm == nullptr || l.feed_forward_norm == nullptr) return PUNA_BAD_POINTER;
            if (l.pool < 0 || l.pool > 1 || l.pool_layer < 0) return PUNA_BAD_SHAPE;
            const int64_t F = l.gate.N;
            int32_t found[] = {check_weight(l.wq, QH, D), check_weight(l.wk, KH, D), check_weight(l.wv, KH, D), check_weight(l.wo, D, QH),
                               check_weight(l.gate, F, D), check_weight(l.up, F, D), check_weight(l.down, D, F)};
            for (int32_t status : found)
                if (status) return status;
            widest_dense = std::max(widest_dense, F);
            if (l.router == nullptr) continue;
            if (s.num_experts < 1) return PUNA_BAD_SHAPE;
            const int64_t E = l.expert_gate.N;
            int32_t more[] = {check_weight(l.expert_gate, E, D), check_weight(l.expert_up, E, D), check_weight(l.expert_down, D, E)};
            for (int32_t status : more)
                if (status) return status;
            widest_expert = std::max(widest_expert, E);
        }
        return PUNA_OK;
    }

    bool any_packed() const {
        for (const puna_layer &l : layers)
            for (const puna_weight *w : {&l.wq, &l.wk, &l.wv, &l.wo, &l.gate, &l.up, &l.down, &l.expert_gate, &l.expert_up, &l.expert_down})
                if (w->data != nullptr && is_packed(*w)) return true;
        return false;
    }

    // A step writes where its pieces say: what lies outside the pools, or leaves a row out, is refused before anything is written.
    int32_t check_step(int64_t T, const puna_pool *pools, const puna_pieces *pieces) const {
        int64_t needed[2] = {0, 0};
        for (const puna_layer &l : layers) needed[l.pool] = std::max<int64_t>(needed[l.pool], l.pool_layer + 1);
        for (int p = 0; p < 2; p++) {
            const puna_pool &pool = pools[p];
            const puna_pieces &of = pieces[p];
            if (needed[p] == 0) continue;
            if (pool.data == nullptr || of.first_row == nullptr || of.rows == nullptr || of.num_keys == nullptr || of.first_page == nullptr ||
                of.pages == nullptr || (pool.type == PUNA_INT8 && pool.scales == nullptr))
                return PUNA_BAD_POINTER;
            if (pool.type != PUNA_F32 && pool.type != PUNA_BF16 && pool.type != PUNA_INT8) return PUNA_BAD_TYPE;
            if (pool.num_layers < needed[p] || pool.tokens_per_page < 1) return PUNA_BAD_SHAPE;
            int64_t next = 0;
            for (int64_t i = 0; i < of.count; i++) {
                if (of.first_row[i] != next || of.rows[i] < 1 || of.num_keys[i] < of.rows[i]) return PUNA_BAD_PIECES;
                next += of.rows[i];
                const int64_t *pages = of.pages + of.first_page[i];
                for (int64_t j = 0; j < divided(of.num_keys[i], pool.tokens_per_page); j++)
                    if (pages[j] < 0 || pages[j] >= pool.num_pages) return PUNA_BAD_PIECES;
            }
            if (next != T) return PUNA_BAD_PIECES;
        }
        return PUNA_OK;
    }

    bool make_room(int64_t T) {
        const bool rounds = !shape.exact && any_packed();
        const int64_t D = shape.width, QH = shape.num_heads * shape.head_width, KH = shape.num_kv_heads * shape.head_width;
        for (int pass = 0; pass < 2; pass++) { // measured, then laid out
            uint8_t *at = nullptr;
            if (pass == 1) at = laid_;
            uint8_t *const start = at;
            const auto take = [&](int64_t bytes) {
                uint8_t *here = at;
                at += (bytes + 63) / 64 * 64;
                return here;
            };
            const auto floats = [&](int64_t count) { return reinterpret_cast<float *>(take(count * int64_t(sizeof(float)))); };
            const auto rows = [&](int64_t width) {
                Rows made;
                made.x = floats(T * width);
                made.stride = width;
                if (rounds) {
                    const int64_t blocks = T * blocks_of(width);
                    made.rounded.a = reinterpret_cast<int8_t *>(take(blocks * kBlock));
                    made.rounded.scales = floats(blocks);
                    made.rounded.kept = reinterpret_cast<int32_t *>(take(blocks * 4));
                }
                return made;
            };
            normed = rows(D), attended = rows(QH), routed = rows(D);
            dense_act = rows(widest_dense), expert_act = rows(widest_expert);
            q = floats(T * QH), k = floats(T * KH), v = floats(T * KH);
            cosines = floats(T * shape.head_width / 2), sines = floats(T * shape.head_width / 2), temperatures = floats(T);
            from_dense = floats(T * D), from_experts = floats(T * D), logits = floats(T * std::max<int64_t>(shape.num_experts, 1));
            if (pass == 0 && (laid_ = room.of(at - start)) == nullptr) return false;
        }
        chosen.resize(size_t(T)), order.resize(size_t(T)), place.resize(size_t(T)), scores.resize(size_t(T));
        offsets.resize(size_t(shape.num_experts + 1));
        return true;
    }

    void step(int64_t T, float *x, const int64_t *positions, const puna_pool *pools, const puna_pieces *pieces, int64_t *expert_ids) {
        const Kernels &use = kernels();
        const int64_t D = shape.width;
        for_rows(T, 64 * shape.head_width, [&](int64_t t) { place_terms(t, positions[t]); });
        const puna_layer *before = nullptr;
        for (const puna_layer &layer : layers) {
            for_rows(T, D, [&](int64_t t) {
                if (before != nullptr) add_feed_forward(x, t, *before);
                use.rms_norm(x + t * D, layer.attention_norm, shape.eps, normed.x + t * D, D);
                round_row(use, normed, t, D);
            });
            project(use, layer, T, pools[layer.pool], pieces[layer.pool]);
            look(use, layer, pools[layer.pool], pieces[layer.pool]);
            products = {{&layer.wo, 0, &attended, 0, T}};
            for_each_item(products, [&](const Product &p, int64_t t, int64_t rows, int64_t begin, int64_t end) {
                add_product(use, p, t, rows, begin, end, x + (p.first + t) * D, D);
            });
            for_rows(T, D, [&](int64_t t) {
                use.rms_norm(x + t * D, layer.feed_forward_norm, shape.eps, normed.x + t * D, D);
                round_row(use, normed, t, D);
                if (layer.router != nullptr) choose(use, layer, t);
            });
            if (layer.router != nullptr) {
                sort_rows(T);
                if (expert_ids != nullptr) {
                    std::copy(chosen.begin(), chosen.begin() + T, expert_ids);
                    expert_ids += T;
                }
                for_rows(T, D, [&](int64_t i) {
                    const int64_t t = order[size_t(i)];
                    const float *from = normed.x + t * D;
                    float *to = routed.x + i * D;
                    for (int64_t d = 0; d < D; d++) to[d] = from[d] * scores[size_t(t)];
                    round_row(use, routed, i, D);
                });
            }
            feed_forward(use, layer, T);
            before = &layer;
        }
        for_rows(T, D, [&](int64_t t) {
            add_feed_forward(x, t, *before);
            use.rms_norm(x + t * D, norm.data(), shape.eps, normed.x + t * D, D);
            std::memcpy(x + t * D, normed.x + t * D, size_t(D) * sizeof(float));
        });
    }

private:
    uint8_t *laid_ = nullptr;

    void add_feed_forward(float *x, int64_t t, const puna_layer &layer) {
        const int64_t D = shape.width;
        float *to = x + t * D;
        const float *dense = from_dense + t * D;
        if (layer.router == nullptr) {
            for (int64_t d = 0; d < D; d++) to[d] += dense[d];
            return;
        }
        const float *expert = from_experts + place[size_t(t)] * D;
        for (int64_t d = 0; d < D; d++) to[d] += dense[d] + expert[d];
    }

    // y += a product, through a buffer of the thread's own.
    void add_product(const Kernels &use, const Product &p, int64_t t, int64_t rows, int64_t begin, int64_t end, float *y, int64_t y_stride) {
        const int64_t columns = std::min(end * kPanel, p.w->N) - begin * kPanel;
        float *part = thread_scratch(rows * columns);
        multiply(use, p, shape.exact != 0, t, rows, begin, end, part, columns);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < columns; c++) y[r * y_stride + begin * kPanel + c] += part[r * columns + c];
    }

    // What a position contributes: in double, so that it is exact at ten million tokens.
    void place_terms(int64_t t, int64_t position) {
        const int64_t half = shape.head_width / 2;
        const double local = double(shape.chunk > 0 ? position % shape.chunk : position);
        for (int64_t j = 0; j < half; j++) {
            const double angle = local * frequencies[size_t(j)];
            cosines[t * half + j] = float(std::cos(angle)), sines[t * half + j] = float(std::sin(angle));
        }
        temperatures[t] = float(1 + shape.attn_scale * std::log(std::floor((double(position) + 1) / shape.floor_scale) + 1));
    }

    void project(const Kernels &use, const puna_layer &layer, int64_t T, const puna_pool &pool, const puna_pieces &pieces) {
        products = {{&layer.wq, 0, &normed, 0, T}, {&layer.wk, 0, &normed, 0, T}, {&layer.wv, 0, &normed, 0, T}};
        for_each_item(products, [&](const Product &p, int64_t t, int64_t rows, int64_t begin, int64_t end) {
            float *y = p.w == &layer.wq ? q : p.w == &layer.wk ? k : v;
            multiply(use, p, shape.exact != 0, t, rows, begin, end, y + t * p.w->N + begin * kPanel, p.w->N);
        });
        const int64_t H = shape.head_width, half = H / 2, QH = shape.num_heads * H, KH = shape.num_kv_heads * H;
        const int64_t size = pool.type == PUNA_F32 ? 4 : pool.type == PUNA_BF16 ? 2 : 1;
        const int64_t head_rows = pool.num_pages * pool.tokens_per_page;
        const auto ready = [&](float *heads, int64_t count, int64_t t) {
            for (int64_t h = 0; h < count; h++) {
                float *head = heads + h * H;
                if (layer.rope) use.rotate(head, cosines + t * half, sines + t * half, H);
                if (layer.qk_norm) use.rms_norm(head, nullptr, shape.eps, head, H);
            }
        };
        for (int64_t i = 0; i < pieces.count; i++) {
            const int64_t first = pieces.first_row[i], rows = pieces.rows[i], *pages = pieces.pages + pieces.first_page[i];
            for_rows(rows, QH + KH, [&](int64_t r) {
                const int64_t t = first + r, key = pieces.num_keys[i] - rows + r;
                ready(q + t * QH, shape.num_heads, t);
                ready(k + t * KH, shape.num_kv_heads, t);
                if (layer.temperature)
                    for (int64_t j = 0; j < QH; j++) q[t * QH + j] *= temperatures[t];
                const int64_t at = pages[key / pool.tokens_per_page] * pool.tokens_per_page + key % pool.tokens_per_page;
                for (int64_t side = 0; side < 2; side++)
                    for (int64_t h = 0; h < shape.num_kv_heads; h++) {
                        const int64_t head = ((side * pool.num_layers + layer.pool_layer) * shape.num_kv_heads + h) * head_rows;
                        float *scales = pool.scales == nullptr ? nullptr : pool.scales + head;
                        use.keep((side ? v : k) + t * KH + h * H, H, static_cast<uint8_t *>(pool.data) + head * H * size, scales, pool.type, at);
                    }
            });
        }
    }

    void look(const Kernels &use, const puna_layer &layer, const puna_pool &pool, const puna_pieces &pieces) {
        const int64_t H = shape.head_width, G = shape.num_heads / shape.num_kv_heads, QH = shape.num_heads * H;
        const int64_t size = pool.type == PUNA_F32 ? 4 : pool.type == PUNA_BF16 ? 2 : 1, head_rows = pool.num_pages * pool.tokens_per_page;
        const int64_t at_once = std::max<int64_t>(1, kQueryRows / G);
        int64_t blocks = 0;
        for (int64_t i = 0; i < pieces.count; i++) blocks += divided(pieces.rows[i], at_once);
        for_each(blocks * shape.num_kv_heads, [&](int64_t item) {
            const int64_t h = item % shape.num_kv_heads;
            int64_t block = blocks - 1 - item / shape.num_kv_heads, i = 0; // the longest first: the last blocks of a prompt see most keys
            while (block >= divided(pieces.rows[i], at_once)) block -= divided(pieces.rows[i++], at_once);
            const int64_t done = block * at_once, tokens = std::min(at_once, pieces.rows[i] - done), t = pieces.first_row[i] + done;
            const int64_t head = (layer.pool_layer * shape.num_kv_heads + h) * head_rows;
            const int64_t side = pool.num_layers * shape.num_kv_heads * head_rows;
            const auto *data = static_cast<const uint8_t *>(pool.data);
            Attend a;
            a.q = q + t * QH + h * G * H, a.q_stride = QH, a.tokens = tokens, a.groups = G, a.H = H;
            a.keys = data + head * H * size, a.values = data + (side + head) * H * size;
            a.key_scales = pool.scales == nullptr ? nullptr : pool.scales + head;
            a.value_scales = pool.scales == nullptr ? nullptr : pool.scales + side + head;
            a.type = pool.type, a.pages = pieces.pages + pieces.first_page[i], a.per_page = pool.tokens_per_page;
            a.num_keys = pieces.num_keys[i] - (pieces.rows[i] - done - tokens);
            a.scale = shape.scale, a.out = attended.x + t * QH + h * G * H, a.out_stride = QH;
            a.scratch = thread_scratch(attend_scratch(tokens * G, H));
            use.attend(a);
        });
        for (int64_t i = 0; i < pieces.count; i++)
            for_rows(pieces.rows[i], QH, [&](int64_t r) { round_row(use, attended, pieces.first_row[i] + r, QH); });
    }

    void choose(const Kernels &use, const puna_layer &layer, int64_t t) {
        const int64_t D = shape.width, E = shape.num_experts;
        float *own = logits + t * E;
        use.linear[PUNA_F32]({normed.x + t * D, D, layer.router, D, own, E, 1, D}, 0, E);
        int64_t best = 0;
        const auto steered = [&](int64_t e) { return layer.router_bias == nullptr ? own[e] : own[e] + layer.router_bias[e]; };
        for (int64_t e = 1; e < E; e++)
            if (steered(e) > steered(best) || std::isnan(own[e])) best = e; // a NaN is chosen, and seen
        chosen[size_t(t)] = best;
        scores[size_t(t)] = 1.0f / (1.0f + std::exp(-own[best]));
    }

    void sort_rows(int64_t T) {
        std::fill(offsets.begin(), offsets.end(), 0);
        for (int64_t t = 0; t < T; t++) offsets[size_t(chosen[size_t(t)] + 1)]++;
        for (size_t e = 1; e < offsets.size(); e++) offsets[e] += offsets[e - 1];
        for (int64_t t = 0; t < T; t++) {
            const int64_t at = offsets[size_t(chosen[size_t(t)])]++; // moved back below
            order[size_t(at)] = t, place[size_t(t)] = at;
        }
        for (size_t e = offsets.size() - 1; e > 0; e--) offsets[e] = offsets[e - 1];
        offsets[0] = 0;
    }

    template <class Each>
    void for_experts(const Each &each) {
        for (int64_t e = 0; e < shape.num_experts; e++)
            if (const int64_t rows = offsets[size_t(e + 1)] - offsets[size_t(e)]) each(e, offsets[size_t(e)], rows);
    }

    void feed_forward(const Kernels &use, const puna_layer &layer, int64_t T) {
        const int64_t D = shape.width;
        const bool exact = shape.exact != 0, is_moe = layer.router != nullptr;
        dense_act.stride = layer.gate.N, expert_act.stride = layer.expert_gate.N;
        products = {{&layer.gate, 0, &normed, 0, T}};
        if (is_moe) for_experts([&](int64_t e, int64_t first, int64_t rows) { products.push_back({&layer.expert_gate, e, &routed, first, rows}); });
        for_each_item(products, [&](const Product &p, int64_t t, int64_t rows, int64_t begin, int64_t end) {
            const bool is_dense = p.w == &layer.gate;
            Product other = p;
            other.w = is_dense ? &layer.up : &layer.expert_up;
            const Rows &to = is_dense ? dense_act : expert_act;
            const int64_t F = p.w->N, columns = std::min(end * kPanel, F) - begin * kPanel;
            float *gate = thread_scratch(2 * rows * columns), *up = gate + rows * columns;
            multiply(use, p, exact, t, rows, begin, end, gate, columns);
            multiply(use, other, exact, t, rows, begin, end, up, columns);
            for (int64_t r = 0; r < rows; r++) {
                const int64_t row = p.first + t + r;
                float *act = to.x + row * F + begin * kPanel;
                use.swiglu(gate + r * columns, up + r * columns, act, columns);
                if (to.rounded.a == nullptr) continue;
                const Rounded all = to.rounded_from(row, F);
                const int64_t block = begin * kPanel / kBlock;
                use.round_row(act, columns, all.a + block * kBlock, all.scales + block, all.kept + block);
            }
        });
        products = {{&layer.down, 0, &dense_act, 0, T}};
        if (is_moe) for_experts([&](int64_t e, int64_t first, int64_t rows) { products.push_back({&layer.expert_down, e, &expert_act, first, rows}); });
        for_each_item(products, [&](const Product &p, int64_t t, int64_t rows, int64_t begin, int64_t end) {
            float *y = p.w == &layer.down ? from_dense : from_experts;
            multiply(use, p, exact, t, rows, begin, end, y + (p.first + t) * D + begin * kPanel, D);
        });
    }
};

extern "C" {

puna_decoder *puna_decoder_new(const puna_decoder_shape *shape, int32_t *status) {
    if (shape == nullptr) {
        *status = PUNA_BAD_POINTER;
        return nullptr;
    }
    std::unique_ptr<puna_decoder> made;
    try {
        made = std::make_unique<puna_decoder>();
        made->shape = *shape;
        if (shape->layers != nullptr && shape->num_layers > 0) made->layers.assign(shape->layers, shape->layers + shape->num_layers);
        *status = made->check();
    } catch (const std::bad_alloc &) {
        *status = PUNA_NO_MEMORY;
    }
    return *status ? nullptr : made.release();
}

void puna_decoder_free(puna_decoder *decoder) { delete decoder; }

int32_t puna_decoder_step(puna_decoder *decoder, int64_t T, float *x, const int64_t *positions, const puna_pool *pools,
                          const puna_pieces *pieces, int64_t *expert_ids) {
    if (T < 0) return PUNA_BAD_SHAPE;
    if (T == 0) return PUNA_OK;
    if (decoder == nullptr || x == nullptr || positions == nullptr || pools == nullptr || pieces == nullptr)
        return PUNA_BAD_POINTER;
    try {
        if (const int32_t status = decoder->check_step(T, pools, pieces)) return status;
        if (!decoder->make_room(T)) return PUNA_NO_MEMORY;
        decoder->step(T, x, positions, pools, pieces, expert_ids);
    } catch (const std::bad_alloc &) {
        return PUNA_NO_MEMORY;
    }
    return PUNA_OK;
}
}
