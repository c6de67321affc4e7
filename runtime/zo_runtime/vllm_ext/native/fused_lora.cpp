// y += scale * h B^T with h = x A^T, for runs of tokens that share an adapter, in bfloat16 with float32 sums.
//
// The two products of a LoRA layer are thin: their time is memory traffic. Here a group of tokens goes through both
// while h is in cache, each slice of y is multiplied by its own rank columns only, and y is read and written once.
// What a token gets depends on its own row alone: each number is the same sum in the same order, in a group of any size.
//
// Threads come from the OpenMP library that torch has loaded already. Its entry points are declared rather than
// linked, so that they are torch's own and so is the pool, with the cores that vLLM bound its threads to.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "products.h"

extern "C" {
void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags);
int omp_get_thread_num();
int omp_get_num_threads();
}

namespace {

constexpr int GROUP = 8; // tokens whose sums over ranks are in registers at once: two vectors each

// Both products for N tokens from `token` on.
template <int N> void group(const Call &call, const uint16_t *a, const Vector *b, int64_t token, uint16_t *h) {
    const Layer &layer = call.layer;
    constexpr int T = std::min(N, 4);
    int64_t pairs = pairs_of(layer), offset = 0;
    for (int t = 0; t < N; t += T) project<T>(call, a, token + t, h + t * layer.slices * pairs * 2);
    for (int64_t slice = 0; slice < layer.slices; slice++) {
        expand<N>(call, h, b, token, slice, offset);
        b += (layer.out[slice] + LANES - 1) / LANES * pairs * 2;
        offset += layer.out[slice];
    }
}

// A slot's B with each slice's own rank columns in pairs, the order in which `expand` reads them.
void interleave(const Call &call, const uint16_t *b, std::vector<Vector> &into) {
    const Layer &layer = call.layer;
    into.clear();
    for (int64_t slice = 0; slice < layer.slices; b += layer.rank * call.out + layer.out[slice++])
        for (int64_t o = 0; o < layer.out[slice]; o += LANES)
            for (int64_t r = 0; r < layer.rank; r += 2) {
                __mmask32 mask = mask_of(layer.out[slice] - o);
                const uint16_t *row = b + r * call.out + o;
                __m512i even = _mm512_maskz_loadu_epi16(mask, row), odd = _mm512_setzero_si512();
                if (r + 1 < layer.rank) odd = _mm512_maskz_loadu_epi16(mask, row + call.out);
                into.resize(into.size() + 2);
                _mm512_store_si512(&into.end()[-2], _mm512_unpacklo_epi16(even, odd));
                _mm512_store_si512(&into.end()[-1], _mm512_unpackhi_epi16(even, odd));
            }
}

void share(void *data) {
    const Call &call = *static_cast<Call *>(data);
    const Layer &layer = call.layer;
    static thread_local std::vector<Vector> b;
    static thread_local std::vector<uint16_t> h;
    h.assign(GROUP * layer.slices * pairs_of(layer) * 2, 0);
    const int64_t *runs = call.batch.runs;
    int64_t tokens = runs[call.batch.count * 3 - 1], id = omp_get_thread_num(), threads = omp_get_num_threads();
    int64_t first = tokens * id / threads, last = tokens * (id + 1) / threads;
    for (int64_t run = 0; run < call.batch.count; run++, runs += 3) {
        int64_t token = std::max(runs[1], first), end = std::min(runs[2], last);
        if (token >= end) continue;
        const uint16_t *a = layer.a + (call.batch.one_a ? 0 : runs[0] * layer.a_stride);
        interleave(call, layer.b + runs[0] * layer.b_stride, b);
        for (; token + GROUP <= end; token += GROUP) group<GROUP>(call, a, b.data(), token, h.data());
        for (; token + 2 <= end; token += 2) group<2>(call, a, b.data(), token, h.data());
        if (token < end) group<1>(call, a, b.data(), token, h.data());
    }
}

} // namespace

extern "C" void add_lora(const Layer *layer, const Batch *batch, const uint16_t *x, int64_t x_stride, uint16_t *y,
                         int64_t y_stride, float scale) {
    int64_t out = 0;
    for (int64_t slice = 0; slice < layer->slices; slice++) out += layer->out[slice];
    Call call{*layer, *batch, x, y, x_stride, y_stride, out, scale};
    GOMP_parallel(share, &call, batch->threads, 0);
}
