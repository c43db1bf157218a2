// The C interface: checks, the choice of the instruction set, and how a product is cut into pieces for the threads.
#include "puna_native.h"

#include "packed.h"
#include "pool.h"

#include <atomic>
#include <cstring>

#if defined(PUNA_HAS_X86)
#include <cpuid.h>
#elif defined(PUNA_HAS_NEON) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace puna {

namespace {

bool runs_here(const Kernels &kernels) {
#if defined(PUNA_HAS_X86)
    __builtin_cpu_init();
    unsigned a, b, c = 0, d; // gcc before 11 and clang before 18 know no "f16c"
    const bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
    const bool avx2 = f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (&kernels == &kAvx2) return avx2;
    if (&kernels == &kAvx512)
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
#elif defined(PUNA_HAS_NEON) && defined(__linux__)
    if (&kernels == &kNeon) return getauxval(AT_HWCAP) & (1 << 20); // HWCAP_ASIMDDP
#endif
    (void)kernels;
    return true;
}

// Best first.
const Kernels *const kAll[] = {
#if defined(PUNA_HAS_X86)
    &kAvx512, &kAvx2,
#elif defined(PUNA_HAS_NEON)
    &kNeon,
#endif
    &kPortable,
};

const Kernels *find(const char *name) {
    for (const Kernels *kernels : kAll)
        if ((name == nullptr || std::strcmp(name, kernels->name) == 0) && runs_here(*kernels)) return kernels;
    return nullptr;
}

std::atomic<const Kernels *> chosen{find(nullptr)};

// Below this much work (weights read, plus a share of the products) a second thread costs more than it takes over.
constexpr int64_t kMinWork = 1 << 16;
constexpr int64_t kPiecesPerThread = 4;
constexpr int64_t kRowsApart = 4096; // elements of activations that are worth a second thread

int32_t check_rows(const void *x, int64_t x_stride, const void *y, int64_t y_stride, int64_t T, int64_t in, int64_t out) {
    if (T < 0 || in < 1 || out < 1) return PUNA_BAD_SHAPE;
    if (T > 1 && (x_stride < in || y_stride < out)) return PUNA_BAD_SHAPE;
    if (T > 0 && (x == nullptr || y == nullptr)) return PUNA_BAD_POINTER;
    return PUNA_OK;
}

int32_t check_offsets(const int64_t *offsets, int64_t num_experts, int64_t T) {
    if (num_experts < 1 || (offsets == nullptr && num_experts != 1)) return PUNA_BAD_OFFSETS;
    if (offsets == nullptr) return PUNA_OK;
    if (offsets[0] != 0 || offsets[num_experts] != T) return PUNA_BAD_OFFSETS;
    for (int64_t e = 0; e < num_experts; e++)
        if (offsets[e + 1] < offsets[e]) return PUNA_BAD_OFFSETS;
    return PUNA_OK;
}

// Cuts the outputs 0 .. N of every expert that has rows into pieces of whole panels, and calls piece(expert, first row of x, their number,
// first output, last output) for each, among the threads.
template <class Piece>
void for_each_piece(const int64_t *offsets, int64_t num_experts, int64_t T, int64_t N, int64_t K, const Piece &piece) {
    constexpr int64_t kBatch = 256;
    const int64_t whole[2] = {0, T};
    if (offsets == nullptr) offsets = whole;
    for (int64_t e = 0; e < num_experts;) {
        int64_t used[kBatch], count = 0, rows = 0;
        for (; e < num_experts && count < kBatch; e++) {
            if (offsets[e + 1] == offsets[e]) continue;
            rows += offsets[e + 1] - offsets[e];
            used[count++] = e;
        }
        if (count == 0) break;
        const int64_t work = N * K * (count + rows / 4);
        const int64_t panels = panels_of(N), wanted = work < kMinWork ? 1 : (threads() * kPiecesPerThread + count - 1) / count;
        const int64_t pieces = wanted < panels ? wanted : panels;
        const int64_t step = (panels + pieces - 1) / pieces * kPanel;
        const auto one = [&](int64_t item) {
            const int64_t expert = used[item / pieces], first = item % pieces * step;
            const int64_t last = first + step < N ? first + step : N;
            if (first < last) piece(expert, offsets[expert], offsets[expert + 1] - offsets[expert], first, last);
        };
        if (work < kMinWork)
            for (int64_t item = 0; item < count * pieces; item++) one(item);
        else for_each(count * pieces, one);
    }
}

// Calls body(first, last) over rows, in one go if they are few.
template <class Body>
void for_each_rows(int64_t T, int64_t width, const Body &body) {
    if (T * width < 2 * kRowsApart) {
        body(int64_t(0), T);
        return;
    }
    const int64_t wanted = threads() * kPiecesPerThread, step = (T + wanted - 1) / wanted;
    for_each((T + step - 1) / step, [&](int64_t i) { body(i * step, (i + 1) * step < T ? (i + 1) * step : T); });
}

// What lies in the workspace, largest alignment first.
Rounded rounded_in(void *workspace, int64_t T, int64_t K) {
    const int64_t blocks = blocks_of(K);
    auto *scales = static_cast<float *>(workspace);
    auto *kept = reinterpret_cast<int32_t *>(scales + T * blocks);
    return {reinterpret_cast<int8_t *>(kept + T * blocks), scales, kept};
}

} // namespace

const Kernels &kernels() { return *chosen.load(std::memory_order_relaxed); }

} // namespace puna

using namespace puna;

extern "C" {

int32_t puna_abi_version(void) { return PUNA_ABI_VERSION; }

const char *puna_status_text(int32_t status) {
    switch (status) {
    case PUNA_OK: return "done";
    case PUNA_BAD_SHAPE: return "a negative size, a stride shorter than its row, or a group that does not divide the inner width";
    case PUNA_BAD_TYPE: return "a number that names no type";
    case PUNA_BAD_POINTER: return "a null pointer";
    case PUNA_NO_ISA: return "instructions that this library or this machine does not have";
    case PUNA_NO_MEMORY: return "no memory for the workspace";
    case PUNA_BAD_PIECES: return "pieces that leave a row out, or name keys or pages that are not there";
    case PUNA_BAD_ID: return "an id outside its table";
    case PUNA_BAD_OFFSETS: return "experts' offsets that do not rise from 0 to the number of rows";
    default: return "an unknown status";
    }
}

const char *puna_isa(void) { return kernels().name; }

int32_t puna_use_isa(const char *name) {
    const Kernels *found = find(name);
    if (found == nullptr) return PUNA_NO_ISA;
    chosen.store(found, std::memory_order_relaxed);
    return PUNA_OK;
}

int32_t puna_set_threads(int32_t count) {
    if (count < 1) return PUNA_BAD_SHAPE;
    set_threads(count);
    return PUNA_OK;
}

int32_t puna_threads(void) { return threads(); }

int32_t puna_linear(const float *x, int64_t x_stride, const void *w, int32_t w_type, int64_t w_stride, int64_t w_expert_stride,
                    const int64_t *offsets, int64_t num_experts, float *y, int64_t y_stride, int64_t T, int64_t N, int64_t K) {
    if (w_type != PUNA_F32 && w_type != PUNA_BF16) return PUNA_BAD_TYPE;
    if (int32_t status = check_rows(x, x_stride, y, y_stride, T, K, N)) return status;
    if (int32_t status = check_offsets(offsets, num_experts, T)) return status;
    if (w_stride < K) return PUNA_BAD_SHAPE;
    if (w == nullptr) return PUNA_BAD_POINTER;
    const auto multiply = kernels().linear[w_type];
    const int64_t expert_bytes = w_expert_stride * (w_type == PUNA_F32 ? 4 : 2);
    for_each_piece(offsets, num_experts, T, N, K, [&](int64_t e, int64_t t, int64_t rows, int64_t first, int64_t last) {
        const void *of_expert = static_cast<const uint8_t *>(w) + e * expert_bytes;
        multiply({x + t * x_stride, x_stride, of_expert, w_stride, y + t * y_stride, y_stride, rows, K}, first, last);
    });
    return PUNA_OK;
}

int64_t puna_packed_workspace(int64_t T, int64_t K) { return T < 0 || K < 1 ? 0 : T * blocks_of(K) * (kBlock + 8); }

int32_t puna_linear_packed(const float *x, int64_t x_stride, const uint8_t *w, const void *scales, int32_t scale_type, int32_t bits,
                           int64_t group, const int64_t *offsets, int64_t num_experts, int32_t exact, void *workspace, float *y,
                           int64_t y_stride, int64_t T, int64_t N, int64_t K) {
    if ((bits != 4 && bits != 8) || scale_type < PUNA_F32 || scale_type > PUNA_F16) return PUNA_BAD_TYPE;
    if (int32_t status = check_rows(x, x_stride, y, y_stride, T, K, N)) return status;
    if (int32_t status = check_offsets(offsets, num_experts, T)) return status;
    if (group < 1 || K % group != 0 || (group != K && group % kBlock != 0)) return PUNA_BAD_SHAPE;
    if (w == nullptr || scales == nullptr || (!exact && T > 0 && workspace == nullptr)) return PUNA_BAD_POINTER;
    const Kernels &use = kernels();
    const int64_t blocks = blocks_of(K), groups = K / group, blocks_per_group = blocks_of(group);
    const int64_t expert_bytes = panels_of(N) * blocks * kPanel * kBlock * bits / 8;
    const int64_t expert_scale_bytes = panels_of(N) * groups * kPanel * (scale_type == PUNA_F32 ? 4 : 2);
    const Rounded all = exact ? Rounded{} : rounded_in(workspace, T, K);
    if (!exact)
        for_each_rows(T, K, [&](int64_t first, int64_t last) {
            for (int64_t t = first; t < last; t++)
                use.round_row(x + t * x_stride, K, all.a + t * blocks * kBlock, all.scales + t * blocks, all.kept + t * blocks);
        });
    const auto multiply = use.packed[bits == 8][exact != 0];
    for_each_piece(offsets, num_experts, T, N, K, [&](int64_t e, int64_t t, int64_t rows, int64_t first, int64_t last) {
        const Rounded own = exact ? Rounded{} : Rounded{all.a + t * blocks * kBlock, all.scales + t * blocks, all.kept + t * blocks};
        const auto *own_scales = static_cast<const uint8_t *>(scales) + e * expert_scale_bytes;
        const Packed part{x + t * x_stride, x_stride, own, w + e * expert_bytes, own_scales, scale_type, blocks, groups,
                          blocks_per_group, y + t * y_stride, y_stride, rows, N, K};
        multiply(part, first / kPanel, panels_of(last));
    });
    return PUNA_OK;
}

int32_t puna_rms_norm(const float *x, int64_t x_stride, const float *w, float eps, float *y, int64_t y_stride, int64_t T, int64_t D) {
    if (int32_t status = check_rows(x, x_stride, y, y_stride, T, D, D)) return status;
    const auto norm = kernels().rms_norm;
    for_each_rows(T, D, [&](int64_t first, int64_t last) {
        for (int64_t t = first; t < last; t++) norm(x + t * x_stride, w, eps, y + t * y_stride, D);
    });
    return PUNA_OK;
}

int32_t puna_swiglu(const float *h, int64_t h_stride, float *y, int64_t y_stride, int64_t T, int64_t F) {
    if (int32_t status = check_rows(h, h_stride, y, y_stride, T, 2 * F, F)) return status;
    const auto activate = kernels().swiglu;
    for_each_rows(T, F, [&](int64_t first, int64_t last) {
        for (int64_t t = first; t < last; t++) activate(h + t * h_stride, h + t * h_stride + F, y + t * y_stride, F);
    });
    return PUNA_OK;
}

int32_t puna_embed(const void *table, int32_t type, const int64_t *ids, float *x, int64_t T, int64_t V, int64_t D) {
    if (type != PUNA_F32 && type != PUNA_BF16) return PUNA_BAD_TYPE;
    if (T < 0 || V < 1 || D < 1) return PUNA_BAD_SHAPE;
    if (T > 0 && (table == nullptr || ids == nullptr || x == nullptr)) return PUNA_BAD_POINTER;
    for (int64_t t = 0; t < T; t++)
        if (ids[t] < 0 || ids[t] >= V) return PUNA_BAD_ID;
    for_each_rows(T, D, [&](int64_t first, int64_t last) {
        for (int64_t t = first; t < last; t++) {
            if (type == PUNA_F32) {
                std::memcpy(x + t * D, static_cast<const float *>(table) + ids[t] * D, size_t(D) * sizeof(float));
                continue;
            }
            const uint16_t *row = static_cast<const uint16_t *>(table) + ids[t] * D;
            for (int64_t d = 0; d < D; d++) {
                const uint32_t bits = uint32_t(row[d]) << 16;
                std::memcpy(x + t * D + d, &bits, sizeof bits);
            }
        }
    });
    return PUNA_OK;
}
}
