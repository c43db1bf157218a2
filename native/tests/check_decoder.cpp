// A whole decoder: steps of a sequence cut in many ways, on every instruction set.
#include "check.h"

#include <algorithm>

namespace {

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
                if (type == PUNA_F32) floats[i] *= float(size);
                else halves[i] = cut(float(size) * random.real());
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
            uint8_t *own = bytes.get() + e * weight.expert_bytes;
            for (int64_t n = 0; n < panels * 16; n++)
                for (int64_t k = 0; k < blocks * 32; k++)
                    put(own, type, blocks, n, k, n < N && k < K ? random.below(2 * largest + 1) - largest : 0);
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
            l.wq = weight(1, kHeads * H, D), l.wo = weight(1, D, kHeads * H);
            l.wk = weight(1, kKvHeads * H, D), l.wv = weight(1, kKvHeads * H, D);
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
    std::vector<float> run(const float *rows, int64_t total, const std::vector<int64_t> &steps, int type,
                           std::vector<int64_t> &experts) const {
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
        std::vector<float> hidden;
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
                pieces[p] = {int64_t(c.rows.size()), c.first_row.data(),  c.rows.data(),
                             c.num_keys.data(),      c.first_page.data(), exact_pages[p].get()};
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

// What the first instruction set, the portable one, finds in each case.
std::vector<std::vector<float>> of_portable;
size_t next_case = 0;

bool near(const std::vector<float> &got, const std::vector<float> &expected, float tolerance) {
    float most = 1e-3f;
    for (float value : expected) most = std::fmax(most, std::fabs(value));
    for (size_t i = 0; i < expected.size(); i++)
        if (!(std::fabs(got[i] - expected[i]) <= tolerance * most)) return false;
    return got.size() == expected.size();
}

// However a prompt is cut, its rows come out alike to the bit. Another instruction set adds in another order, and may round up where the
// portable one rounds down.
void check_cuts(int32_t type, bool exact, int pool_type, int64_t D, int64_t H, int64_t total,
                const std::vector<std::vector<int64_t>> &ways) {
    Random random;
    const Tiny tiny(random, type, exact, D, H);
    const auto rows = reals(random, total * D);
    std::vector<int64_t> experts, again;
    const std::vector<float> whole = tiny.run(rows.get(), total, {total}, pool_type, experts);
    for (const auto &way : ways) {
        const std::vector<float> cut = tiny.run(rows.get(), total, way, pool_type, again);
        expect(again == experts, "the same experts", total, type, D);
        expect(same_bits(cut.data(), whole.data(), total * D), "a prompt in pieces", total, type, D);
    }
    expect(whole.front() != 0 && *std::max_element(experts.begin(), experts.end()) > 0, "some choice", total, type, D);
    if (std::strcmp(puna_isa(), "portable") == 0) {
        of_portable.push_back(whole);
        return;
    }
    const bool rounds = pool_type != PUNA_F32 || (!exact && (type == PUNA_INT4 || type == PUNA_INT8));
    expect(near(whole, of_portable[next_case++], rounds ? 3e-2f : 3e-5f), "what portable code finds", total, type, D);
}

} // namespace

void check_decoder() {
    next_case = 0;
    const std::vector<int64_t> ones(70, 1);
    check_cuts(PUNA_F32, false, PUNA_F32, 20, 6, 70, {ones, {1, 5, 40, 2, 22}});
    check_cuts(PUNA_BF16, false, PUNA_BF16, 20, 6, 70, {{1, 5, 40, 2, 22}});
    check_cuts(PUNA_INT8, true, PUNA_F32, 64, 8, 70, {{33, 37}});
    check_cuts(PUNA_INT8, false, PUNA_INT8, 64, 8, 70, {{33, 37}});
    check_cuts(PUNA_INT4, false, PUNA_F32, 20, 6, 70, {{1, 5, 40, 2, 22}});
    check_cuts(PUNA_INT4, true, PUNA_F32, 64, 18, 33, {{32, 1}});
    check_cuts(PUNA_F32, false, PUNA_F32, 20, 6, kLongest, {{129, 71}});
}
