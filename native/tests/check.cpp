// Runs every kernel on every instruction set of this machine at awkward sizes, against plain loops, in buffers that end where their data
// ends: built with -DPUNA_SANITIZE=ON, a byte read or written outside is an error. Exit code 0 if all agree.
#include "packed.h"
#include "puna_native.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

namespace {

int failures = 0;

void expect(bool holds, const char *what, int64_t T, int64_t N, int64_t K) {
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

std::unique_ptr<float[]> reals(Random &random, int64_t count) {
    auto values = exactly<float>(count);
    for (int64_t i = 0; i < count; i++) values[i] = random.real();
    return values;
}

bool near(const float *got, const std::vector<double> &expected, double tolerance) {
    double most = 1e-3;
    for (double value : expected) most = std::fmax(most, std::fabs(value));
    for (size_t i = 0; i < expected.size(); i++)
        if (!(std::fabs(got[i] - expected[i]) <= tolerance * most)) return false;
    return true;
}

std::vector<double> product(const float *x, const std::vector<double> &w, int64_t T, int64_t N, int64_t K) {
    std::vector<double> y(size_t(T * N));
    for (int64_t t = 0; t < T; t++)
        for (int64_t n = 0; n < N; n++)
            for (int64_t k = 0; k < K; k++) y[size_t(t * N + n)] += double(x[t * K + k]) * w[size_t(n * K + k)];
    return y;
}

// x as a product that is not exact sees it: rounded to 8 bits in blocks of 32.
std::unique_ptr<float[]> rounded(const float *x, int64_t T, int64_t K) {
    auto seen = exactly<float>(T * K);
    for (int64_t t = 0; t < T; t++)
        for (int64_t b = 0; b < K; b += 32) {
            const int64_t end = b + 32 < K ? b + 32 : K;
            float most = 0;
            for (int64_t k = b; k < end; k++) most = std::fmax(most, std::fabs(x[t * K + k]));
            for (int64_t k = b; k < end; k++) seen[t * K + k] = most == 0 ? 0 : std::nearbyint(x[t * K + k] * (127 / most)) * (most / 127);
        }
    return seen;
}

void check_plain(Random &random, int64_t T, int64_t N, int64_t K) {
    auto x = reals(random, T * K), w = reals(random, N * K), y = exactly<float>(T * N);
    auto half = exactly<uint16_t>(N * K);
    std::vector<double> wide(w.get(), w.get() + N * K), cut(size_t(N * K));
    for (int64_t i = 0; i < N * K; i++) {
        uint32_t bits;
        std::memcpy(&bits, &w[i], 4);
        half[i] = uint16_t(bits >> 16);
        bits &= 0xffff0000u;
        float value;
        std::memcpy(&value, &bits, 4);
        cut[size_t(i)] = value;
    }
    expect(puna_linear(x.get(), K, w.get(), PUNA_F32, K, 0, nullptr, 1, y.get(), N, T, N, K) == PUNA_OK, "a product", T, N, K);
    expect(near(y.get(), product(x.get(), wide, T, N, K), 1e-5), "fp32", T, N, K);
    puna_linear(x.get(), K, half.get(), PUNA_BF16, K, 0, nullptr, 1, y.get(), N, T, N, K);
    expect(near(y.get(), product(x.get(), cut, T, N, K), 1e-5), "bf16", T, N, K);
}

// The layout once more, from its description in packed.h: where weight (n, k) lies.
void put(uint8_t *data, int bits, int64_t blocks, int64_t n, int64_t k, int value) {
    const int64_t panel = n / 16, row = n % 16, block = k / 32, quad = k % 32 / 4, column = k % 4;
    const int64_t start = (panel * blocks + block) * 16 * 32;
    if (bits == 8) data[start + quad * 64 + row * 4 + column] = uint8_t(int8_t(value));
    else data[start / 2 + quad / 2 * 64 + row * 4 + column] |= uint8_t((value + 8) << (4 * (quad % 2)));
}

void check_packed(Random &random, int bits, int64_t T, int64_t N, int64_t K, int64_t group) {
    const int64_t blocks = puna::blocks_of(K), panels = puna::panels_of(N), groups = K / group, largest = bits == 8 ? 127 : 7;
    auto x = reals(random, T * K), scales = exactly<float>(panels * groups * 16), y = exactly<float>(T * N);
    auto data = exactly<uint8_t>(panels * blocks * 16 * 32 * bits / 8);
    std::vector<double> w(size_t(N * K));
    for (int64_t n = 0; n < panels * 16; n++)
        for (int64_t k = 0; k < blocks * 32; k++) {
            if (n >= N || k >= K) {
                put(data.get(), bits, blocks, n, k, 0);
                continue;
            }
            const int value = random.below(int(2 * largest + 1)) - int(largest);
            float &scale = scales[((n / 16) * groups + k / group) * 16 + n % 16];
            if (k % group == 0) scale = 0.01f + 0.01f * std::fabs(random.real());
            put(data.get(), bits, blocks, n, k, value);
            w[size_t(n * K + k)] = double(value) * scale;
        }
    const auto seen = rounded(x.get(), T, K);
    auto workspace = exactly<uint8_t>(puna_packed_workspace(T, K));
    for (int exact = 0; exact < 2; exact++) {
        const int32_t status = puna_linear_packed(x.get(), K, data.get(), scales.get(), PUNA_F32, bits, group, nullptr, 1, exact,
                                                  exact ? nullptr : workspace.get(), y.get(), N, T, N, K);
        expect(status == PUNA_OK, "a packed product", T, N, K);
        expect(near(y.get(), product(exact ? x.get() : seen.get(), w, T, N, K), 1e-5), exact ? "packed, exact" : "packed", T, N, K);
    }
}

void check_rows(Random &random, int64_t T, int64_t D) {
    auto x = reals(random, T * 2 * D), y = exactly<float>(T * D);
    puna_swiglu(x.get(), 2 * D, y.get(), D, T, D);
    std::vector<double> expected(size_t(T * D));
    for (int64_t t = 0; t < T; t++)
        for (int64_t d = 0; d < D; d++) {
            const double gate = x[t * 2 * D + d];
            expected[size_t(t * D + d)] = gate / (1 + std::exp(-gate)) * x[t * 2 * D + D + d];
        }
    expect(near(y.get(), expected, 1e-5), "swiglu", T, D, D);
    puna_rms_norm(x.get(), D, nullptr, 1e-5f, y.get(), D, T, D);
    for (int64_t t = 0; t < T; t++) {
        double squares = 0;
        for (int64_t d = 0; d < D; d++) squares += double(x[t * D + d]) * x[t * D + d];
        for (int64_t d = 0; d < D; d++) expected[size_t(t * D + d)] = x[t * D + d] / std::sqrt(squares / double(D) + 1e-5);
    }
    expect(near(y.get(), expected, 1e-5), "rms_norm", T, D, D);
}

// ---- pages

float bf16(uint16_t bits) {
    const uint32_t wide = uint32_t(bits) << 16;
    float value;
    std::memcpy(&value, &wide, 4);
    return value;
}

// One head's rows of H numbers in pages whose numbers go down, in memory that ends with them. What no token takes is NaN.
struct Head {
    int type;
    int64_t H, per_page, num_keys;
    std::unique_ptr<int64_t[]> pages;
    std::unique_ptr<float[]> floats, scales;
    std::unique_ptr<uint16_t[]> halves;
    std::unique_ptr<int8_t[]> bytes;
    std::vector<double> kept; // what a reader must find

    Head(Random &random, int type, int64_t H, int64_t per_page, int64_t num_keys) : type(type), H(H), per_page(per_page), num_keys(num_keys) {
        const int64_t count = (num_keys + per_page - 1) / per_page, slots = (count + 1) * per_page; // page 0 is somebody else's
        pages = exactly<int64_t>(count), scales = exactly<float>(type == 8 ? slots : 0);
        floats = exactly<float>(type == 0 ? slots * H : 0), halves = exactly<uint16_t>(type == 1 ? slots * H : 0);
        bytes = exactly<int8_t>(type == 8 ? slots * H : 0);
        for (int64_t i = 0; i < count; i++) pages[i] = count - i;
        for (int64_t i = 0; type == 0 && i < slots * H; i++) floats[i] = NAN;
        for (int64_t i = 0; type == 1 && i < slots * H; i++) halves[i] = 0x7fc0;
        for (int64_t i = 0; type == 8 && i < slots; i++) scales[i] = NAN;
        for (int64_t s = 0; s < num_keys; s++) keep(reals(random, H).get(), s);
    }

    void *data() const {
        return type == 0 ? static_cast<void *>(floats.get()) : type == 1 ? static_cast<void *>(halves.get()) : static_cast<void *>(bytes.get());
    }

    void keep(const float *x, int64_t s) {
        const int64_t place = pages[s / per_page] * per_page + s % per_page;
        puna::kernels().keep(x, H, data(), type == 8 ? scales.get() : nullptr, type, place);
        float most = 0;
        for (int64_t h = 0; h < H; h++) most = std::fmax(most, std::fabs(x[h]));
        for (int64_t h = 0; h < H; h++) {
            const int64_t at = place * H + h;
            const double got = type == 0 ? floats[at] : type == 1 ? bf16(halves[at]) : double(bytes[at]) * scales[place];
            const double step = type == 0 ? 0 : type == 1 ? std::fabs(x[h]) / 128 : most / 127;
            expect(std::fabs(got - x[h]) <= 0.5001 * step, "keep", 1, type, H);
            kept.push_back(got);
        }
    }
};

void check_attend(Random &random, int type, int64_t H, int64_t groups, int64_t tokens, int64_t num_keys, int64_t per_page) {
    const Head keys(random, type, H, per_page, num_keys), values(random, type, H, per_page, num_keys);
    const int64_t width = groups * H, stride = width + 3; // other heads' queries lie between
    auto q = exactly<float>((tokens - 1) * stride + width), out = exactly<float>((tokens - 1) * stride + width);
    for (int64_t i = 0; i < (tokens - 1) * stride + width; i++) q[i] = i % stride < width ? 3 * random.real() : NAN, out[i] = 77;
    auto scratch = exactly<float>(puna::attend_scratch(tokens * groups, H));
    for (int64_t i = 0; i < puna::attend_scratch(tokens * groups, H); i++) scratch[i] = NAN;
    puna::Attend a{};
    a.q = q.get(), a.q_stride = stride, a.tokens = tokens, a.groups = groups, a.H = H;
    a.keys = keys.data(), a.values = values.data(), a.type = type;
    a.key_scales = type == 8 ? keys.scales.get() : nullptr, a.value_scales = type == 8 ? values.scales.get() : nullptr;
    a.pages = keys.pages.get(), a.per_page = per_page, a.num_keys = num_keys, a.scale = 0.7f;
    a.out = out.get(), a.out_stride = stride, a.scratch = scratch.get();
    puna::kernels().attend(a);
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t g = 0; g < groups; g++) {
            const int64_t seen = num_keys - tokens + t + 1;
            std::vector<double> scores(size_t(seen), 0), expected(size_t(H), 0);
            for (int64_t s = 0; s < seen; s++)
                for (int64_t h = 0; h < H; h++) scores[size_t(s)] += 0.7 * q[t * stride + g * H + h] * keys.kept[size_t(s * H + h)];
            const double most = *std::max_element(scores.begin(), scores.end());
            double total = 0;
            for (double &score : scores) total += score = std::exp(score - most);
            for (int64_t s = 0; s < seen; s++)
                for (int64_t h = 0; h < H; h++) expected[size_t(h)] += scores[size_t(s)] / total * values.kept[size_t(s * H + h)];
            expect(near(out.get() + t * stride + g * H, expected, 2e-5), "attend", tokens * groups, num_keys, H);
        }
    for (int64_t i = 0; i < (tokens - 1) * stride; i++) expect(i % stride < width || out[i] == 77, "attend's place", tokens, num_keys, H);
}

// Few rows and many, keys that end before, on and behind a block of 64, heads narrower than a vector.
void check_pages() {
    Random random;
    const int64_t lengths[] = {1, 2, 9, 63, 64, 65, 128, 130};
    int64_t turn = 0;
    for (int type : {0, 1, 8})
        for (int64_t num_keys : lengths)
            for (int64_t tokens : {1, 2, 5, 9, 64, 70}) {
                if (tokens > num_keys) continue;
                const int64_t H = (const int64_t[]){2, 6, 8, 20, 18}[turn % 5], groups = 1 + turn % 3, per_page = turn % 2 ? 3 : 16;
                check_attend(random, type, H, groups, tokens, num_keys, per_page);
                turn++;
            }
    check_attend(random, 0, 64, 8, 1, 130, 16);
    check_attend(random, 8, 64, 1, 9, 130, 16);
}

// ---- a whole decoder

// A weight's memory, and its description.
struct Owned {
    std::unique_ptr<float[]> floats;
    std::unique_ptr<uint16_t[]> halves;
    std::unique_ptr<uint8_t[]> bytes;
    puna_weight weight{};

    Owned(Random &random, int32_t type, int64_t E, int64_t N, int64_t K) {
        const int64_t group = K % 32 ? K : 32, blocks = puna::blocks_of(K), panels = puna::panels_of(N), scales = panels * (K / group) * 16;
        const double size = 1.5 / std::sqrt(double(K));
        weight.type = type, weight.N = N, weight.K = K, weight.group = group;
        if (type == PUNA_F32 || type == PUNA_BF16) {
            floats = reals(random, type == PUNA_F32 ? E * N * K : 0), halves = exactly<uint16_t>(type == PUNA_F32 ? 0 : E * N * K);
            for (int64_t i = 0; i < E * N * K; i++) {
                if (type == PUNA_F32) {
                    floats[i] *= float(size);
                    continue;
                }
                const float value = float(size) * random.real();
                uint32_t bits;
                std::memcpy(&bits, &value, 4);
                halves[i] = uint16_t(bits >> 16);
            }
            weight.data = type == PUNA_F32 ? static_cast<void *>(floats.get()) : static_cast<void *>(halves.get());
            weight.expert_bytes = N * K * (type == PUNA_F32 ? 4 : 2);
            return;
        }
        const int largest = type == PUNA_INT8 ? 127 : 7;
        bytes = exactly<uint8_t>(E * panels * blocks * 16 * 32 * type / 8), floats = exactly<float>(E * scales);
        weight.data = bytes.get(), weight.scales = floats.get(), weight.scale_type = PUNA_F32;
        weight.expert_bytes = panels * blocks * 16 * 32 * type / 8, weight.expert_scale_bytes = 4 * scales;
        for (int64_t e = 0; e < E; e++) {
            for (int64_t i = 0; i < scales; i++) floats[e * scales + i] = float(size / largest) * (1 + 0.5f * random.real());
            for (int64_t n = 0; n < panels * 16; n++)
                for (int64_t k = 0; k < blocks * 32; k++)
                    put(bytes.get() + e * weight.expert_bytes, type, blocks, n, k, n < N && k < K ? random.below(2 * largest + 1) - largest : 0);
        }
    }
};

constexpr int64_t kHeads = 4, kKvHeads = 2, kExperts = 3, kChunk = 20, kPerPage = 3, kLongest = 200;

// Four layers: dense and experts, with rotation over chunks and without over everything. Weights of this type, D wide; heads H wide.
struct Tiny {
    std::vector<Owned> weights;
    std::vector<std::unique_ptr<float[]>> floats;
    std::vector<puna_layer> layers;
    std::vector<double> frequencies;
    puna_decoder_shape shape{};
    int64_t D, H;

    Tiny(Random &random, int32_t type, bool exact, int64_t D, int64_t H) : D(D), H(H) {
        const int64_t F = 37, X = 64;
        const auto weight = [&](int64_t E, int64_t N, int64_t K) { return weights.emplace_back(random, type, E, N, K).weight; };
        const auto some = [&](int64_t count) { return floats.emplace_back(reals(random, count)).get(); };
        for (int i = 0; i < 4; i++) {
            puna_layer l{};
            const bool is_local = i != 2, is_moe = i % 2;
            l.attention_norm = some(D), l.feed_forward_norm = some(D);
            l.wq = weight(1, kHeads * H, D), l.wk = weight(1, kKvHeads * H, D), l.wv = weight(1, kKvHeads * H, D), l.wo = weight(1, D, kHeads * H);
            l.gate = weight(1, F, D), l.up = weight(1, F, D), l.down = weight(1, D, F);
            if (is_moe) {
                l.router = some(kExperts * D), l.router_bias = i == 3 ? some(kExperts) : nullptr;
                l.expert_gate = weight(kExperts, X, D), l.expert_up = weight(kExperts, X, D), l.expert_down = weight(kExperts, D, X);
            }
            l.rope = l.qk_norm = is_local, l.temperature = !is_local, l.pool = is_local, l.pool_layer = is_local ? i - (i > 2) : 0;
            layers.push_back(l);
        }
        for (int64_t j = 0; j < H / 2; j++) frequencies.push_back(1 / double(1 + 3 * j));
        shape = {4, D, kHeads, kKvHeads, H, kExperts, 1e-5f, 0.4f, 0.1, 16, kChunk, frequencies.data(), exact, some(D), layers.data()};
    }

    // Hidden states of one sequence whose rows come in steps of these lengths.
    std::vector<double> run(const float *rows, int64_t total, const std::vector<int64_t> &steps, int type, std::vector<int64_t> &experts) const {
        int32_t status = PUNA_BAD_SHAPE;
        puna_decoder *decoder = puna_decoder_new(&shape, &status);
        expect(status == PUNA_OK && decoder != nullptr, "a decoder", total, D, H);
        const int64_t global = (total + kPerPage - 1) / kPerPage, in_chunk = (kChunk + kPerPage - 1) / kPerPage;
        const int64_t local = (total + kChunk - 1) / kChunk * in_chunk, counts[] = {global, local}, num_layers[] = {1, 3};
        std::unique_ptr<uint8_t[]> data[2];
        std::unique_ptr<float[]> scales[2];
        puna_pool pools[2];
        for (int p = 0; p < 2; p++) {
            const int64_t slots = 2 * num_layers[p] * kKvHeads * counts[p] * kPerPage;
            data[p] = exactly<uint8_t>(slots * H * (type == PUNA_F32 ? 4 : type == PUNA_BF16 ? 2 : 1));
            scales[p] = exactly<float>(type == PUNA_INT8 ? slots : 0);
            pools[p] = {data[p].get(), type == PUNA_INT8 ? scales[p].get() : nullptr, num_layers[p], counts[p], kPerPage, int32_t(type)};
        }
        std::vector<double> hidden;
        experts.clear();
        int64_t first = 0;
        for (int64_t T : steps) {
            auto x = exactly<float>(T * D);
            auto positions = exactly<int64_t>(T);
            std::copy(rows + first * D, rows + (first + T) * D, x.get());
            for (int64_t t = 0; t < T; t++) positions[t] = first + t;
            struct Cuts {
                std::vector<int64_t> first_row, rows, num_keys, first_page, pages;
            } cuts[2];
            const auto add = [&](Cuts &to, int64_t row, int64_t count, int64_t num_keys, int64_t last_page) {
                to.first_row.push_back(row), to.rows.push_back(count), to.num_keys.push_back(num_keys);
                to.first_page.push_back(int64_t(to.pages.size()));
                for (int64_t i = 0; i * kPerPage < num_keys; i++) to.pages.push_back(last_page - i);
            };
            add(cuts[0], 0, T, first + T, global - 1);
            for (int64_t t = 0; t < T;) {
                const int64_t inside = (first + t) % kChunk, count = std::min(T - t, kChunk - inside);
                add(cuts[1], t, count, inside + count, ((first + t) / kChunk + 1) * in_chunk - 1);
                t += count;
            }
            puna_pieces pieces[2];
            std::unique_ptr<int64_t[]> exact_pages[2];
            for (int p = 0; p < 2; p++) {
                Cuts &c = cuts[p];
                exact_pages[p] = exactly<int64_t>(int64_t(c.pages.size()));
                std::copy(c.pages.begin(), c.pages.end(), exact_pages[p].get());
                pieces[p] = {int64_t(c.rows.size()), c.first_row.data(), c.rows.data(), c.num_keys.data(), c.first_page.data(), exact_pages[p].get()};
            }
            auto ids = exactly<int64_t>(2 * T);
            status = puna_decoder_step(decoder, T, x.get(), positions.get(), pools, pieces, ids.get());
            expect(status == PUNA_OK, "a step", T, D, H);
            hidden.insert(hidden.end(), x.get(), x.get() + T * D);
            for (int64_t t = 0; t < T; t++) experts.push_back(ids[t] * kExperts + ids[T + t]);
            first += T;
        }
        puna_decoder_free(decoder);
        return hidden;
    }
};

// However a prompt is cut, its rows come out alike. Products of rounded activations round off what attention's order of sums changes.
void check_cuts(int32_t type, bool exact, int pool_type, int64_t D, int64_t H, int64_t total, const std::vector<std::vector<int64_t>> &ways) {
    Random random;
    const Tiny tiny(random, type, exact, D, H);
    const auto rows = reals(random, total * D);
    std::vector<int64_t> experts, again;
    const std::vector<double> whole = tiny.run(rows.get(), total, {total}, pool_type, experts);
    const bool rounds = (type == PUNA_INT4 || type == PUNA_INT8) && !exact;
    for (const auto &way : ways) {
        const std::vector<double> cut = tiny.run(rows.get(), total, way, pool_type, again);
        const std::vector<float> got(cut.begin(), cut.end());
        expect(again == experts, "the same experts", total, type, D);
        expect(near(got.data(), whole, rounds || pool_type == PUNA_INT8 ? 3e-2 : 3e-5), "a prompt in pieces", total, type, D);
    }
    expect(whole.front() != 0 && *std::max_element(experts.begin(), experts.end()) > 0, "some choice", total, type, D);
}

void check_decoder() {
    const std::vector<int64_t> ones(70, 1);
    check_cuts(PUNA_F32, false, PUNA_F32, 20, 6, 70, {ones, {1, 5, 40, 2, 22}});
    check_cuts(PUNA_BF16, false, PUNA_BF16, 20, 6, 70, {{1, 5, 40, 2, 22}});
    check_cuts(PUNA_INT8, true, PUNA_F32, 64, 8, 70, {{33, 37}});
    check_cuts(PUNA_INT8, false, PUNA_INT8, 64, 8, 70, {{33, 37}});
    check_cuts(PUNA_INT4, false, PUNA_F32, 20, 6, 70, {{1, 5, 40, 2, 22}});
    check_cuts(PUNA_INT4, true, PUNA_F32, 64, 18, 33, {{32, 1}});
    check_cuts(PUNA_F32, false, PUNA_F32, 20, 6, kLongest, {{129, 71}});
}

void check_all() {
    Random random;
    for (int64_t T : {1, 3, 7})
        for (int64_t N : {1, 5, 50})
            for (int64_t K : {1, 31, 100, 192}) {
                check_plain(random, T, N, K);
                for (int bits : {4, 8}) {
                    check_packed(random, bits, T, N, K, K);
                    if (K % 64 == 0) check_packed(random, bits, T, N, K, 32), check_packed(random, bits, T, N, K, 64);
                }
                check_rows(random, T, K);
            }
    check_plain(random, 5, 700, 300); // large enough for the workers
    check_packed(random, 8, 9, 700, 320, 32);
    check_packed(random, 4, 9, 700, 320, 64);
}

} // namespace

int main() {
    for (const char *isa : {"portable", "avx2", "avx512", "neon"}) {
        if (puna_use_isa(isa) != PUNA_OK) continue;
        check_pages();
        for (int threads : {1, 3}) {
            puna_set_threads(threads);
            check_all();
        }
        std::thread other(check_decoder); // two callers share one pool
        check_all();
        other.join();
        std::printf("%s checked\n", isa);
    }
    return failures == 0 ? 0 : 1;
}
