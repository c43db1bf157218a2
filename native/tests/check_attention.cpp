// Attention over pages, and what keeps and rotates heads.
#include "check.h"

#include <algorithm>

namespace {

// One head's rows of H numbers in pages whose numbers go down, in memory that ends with them. What no token takes is NaN.
struct Head {
    int type;
    int64_t H, per_page, num_keys;
    std::unique_ptr<int64_t[]> pages;
    std::unique_ptr<float[]> floats, scales;
    std::unique_ptr<uint16_t[]> halves;
    std::unique_ptr<int8_t[]> bytes;
    std::vector<double> kept; // what a reader must find

    Head(Random &random, int type, int64_t H, int64_t per_page, int64_t num_keys)
        : type(type), H(H), per_page(per_page), num_keys(num_keys) {
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
        if (type == 0) return floats.get();
        return type == 1 ? static_cast<void *>(halves.get()) : bytes.get();
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

void attend(const Head &keys, const Head &values, const float *q, int64_t tokens, int64_t groups, int64_t num_keys, float *out,
            int64_t stride) {
    const int64_t H = keys.H, room = puna::attend_scratch(tokens * groups, H);
    const auto scratch = exactly<float>(room);
    for (int64_t i = 0; i < room; i++) scratch[i] = NAN;
    puna::Attend a{};
    a.q = q, a.q_stride = stride, a.tokens = tokens, a.groups = groups, a.H = H;
    a.keys = keys.data(), a.values = values.data(), a.type = keys.type;
    a.key_scales = keys.type == 8 ? keys.scales.get() : nullptr, a.value_scales = keys.type == 8 ? values.scales.get() : nullptr;
    a.pages = keys.pages.get(), a.per_page = keys.per_page, a.num_keys = num_keys, a.scale = 0.7f;
    a.out = out, a.out_stride = stride, a.scratch = scratch.get();
    puna::kernels().attend(a);
}

// `size` of the queries: large ones give scores further apart than exp reaches.
void check_attend(Random &random, int type, int64_t H, int64_t groups, int64_t tokens, int64_t num_keys, int64_t per_page, float size = 3) {
    const Head keys(random, type, H, per_page, num_keys), values(random, type, H, per_page, num_keys);
    const int64_t width = groups * H;
    const Rows q(random, tokens, width, size), out(tokens, width), alone(1, width); // other heads' queries lie between
    attend(keys, values, q.data.get(), tokens, groups, num_keys, out.data.get(), out.stride);
    std::vector<double> expected;
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t g = 0; g < groups; g++) {
            const int64_t seen = num_keys - tokens + t + 1;
            std::vector<double> scores(size_t(seen), 0), sums(size_t(H), 0);
            for (int64_t s = 0; s < seen; s++)
                for (int64_t h = 0; h < H; h++) scores[size_t(s)] += 0.7 * q.row(t)[g * H + h] * keys.kept[size_t(s * H + h)];
            const double most = *std::max_element(scores.begin(), scores.end());
            double total = 0;
            for (double &score : scores) total += score = std::exp(score - most);
            for (int64_t s = 0; s < seen; s++)
                for (int64_t h = 0; h < H; h++) sums[size_t(h)] += scores[size_t(s)] / total * values.kept[size_t(s * H + h)];
            expected.insert(expected.end(), sums.begin(), sums.end());
        }
    expect(out.near(expected, size > 3 ? 2e-3 : 2e-5), "attend", tokens * groups, num_keys, H);
    for (int64_t t = tokens - 1; t >= 0; t -= 5) {
        attend(keys, values, q.row(t), 1, groups, num_keys - tokens + t + 1, alone.data.get(), alone.stride);
        expect(same_bits(alone.row(0), out.row(t), width), "a query alone", t, num_keys, H);
    }
    const Rows spoilt(tokens, width);
    q.row(0)[H / 2] = NAN; // reaches its own head's output and no other
    attend(keys, values, q.data.get(), tokens, groups, num_keys, spoilt.data.get(), spoilt.stride);
    for (int64_t h = 0; h < H; h++) expect(std::isnan(spoilt.row(0)[h]), "a NaN query", tokens, num_keys, H);
    for (int64_t t = 0; t < tokens; t++) {
        const int64_t own = t == 0 ? H : 0;
        expect(same_bits(spoilt.row(t) + own, out.row(t) + own, width - own), "a NaN query's neighbours", t, num_keys, H);
    }
}

// Few rows and many, keys that end before, on and behind a block of 64, heads narrower than a vector and wider than two.
void check_pages() {
    Random random;
    int64_t turn = 0;
    for (int type : {0, 1, 8})
        for (int64_t num_keys : {1, 2, 9, 63, 64, 65, 128, 130})
            for (int64_t tokens : {1, 2, 5, 9, 64, 70}) {
                if (tokens > num_keys) continue;
                constexpr int64_t widths[] = {2, 6, 8, 20, 18, 14, 50};
                check_attend(random, type, widths[turn % 7], 1 + turn % 3, tokens, num_keys, turn % 2 ? 3 : 16);
                turn++;
            }
    for (int type : {0, 1, 8}) {
        check_attend(random, type, 64, 8, 1, 130, 16);
        check_attend(random, type, 64, 1, 9, 130, 16);
        check_attend(random, type, 50, 3, 5, 130, 16, 300);
        check_attend(random, type, 50, 1, 1, 130, 16, 300);
    }
}

// What is no number stays none, in whatever type it is kept; a head of zeros stays one.
void check_keep() {
    const float nan[] = {1, NAN, -2, 0.5f}, zeros[] = {0, 0, 0, 0};
    float floats[4], scale = 1;
    uint16_t halves[4];
    int8_t bytes[4] = {9, 9, 9, 9};
    const puna::Kernels &use = puna::kernels();
    use.keep(nan, 4, floats, nullptr, 0, 0);
    use.keep(nan, 4, halves, nullptr, 1, 0);
    for (int h = 0; h < 4; h++) {
        expect(same_bits(floats + h, nan + h, 1), "a NaN kept", 1, 0, h);
        expect(h == 1 ? std::isnan(bf16(halves[h])) : bf16(halves[h]) == nan[h], "a NaN kept", 1, 1, h);
    }
    use.keep(zeros, 4, bytes, &scale, 8, 0);
    expect(scale == 0 && bytes[0] == 0 && bytes[3] == 0, "zeros kept", 1, 8, 4);
    use.keep(nan, 4, bytes, &scale, 8, 0);
    expect(std::isnan(scale), "a NaN kept", 1, 8, 4);
}

void check_rotate() {
    Random random;
    for (int64_t H : {2, 6, 18, 64, 126}) {
        const auto x = reals(random, H), cosines = reals(random, H / 2), sines = reals(random, H / 2);
        std::vector<double> expected;
        for (int64_t j = 0; j < H / 2; j++) {
            const double even = x[2 * j], odd = x[2 * j + 1];
            expected.push_back(even * cosines[j] - odd * sines[j]), expected.push_back(even * sines[j] + odd * cosines[j]);
        }
        puna::kernels().rotate(x.get(), cosines.get(), sines.get(), H);
        for (int64_t h = 0; h < H; h++) expect(std::fabs(x[h] - expected[size_t(h)]) <= 1e-6, "rotate", 1, h, H);
    }
}

} // namespace

void check_attention() {
    check_pages();
    check_keep();
    check_rotate();
}
