// y += scale * h B^T with h = x A^T, for runs of tokens that share an adapter, in bfloat16 with float32 sums.
//
// The two products of a LoRA layer are thin: their time is memory traffic. Here a group of tokens goes through both
// while h is in cache, each slice of y is multiplied by its own rank columns only, and y is read and written once.
// What a token gets depends on its own row alone: each number is the same sum in the same order, in a group of any size.
//
// Threads come from the OpenMP library that torch has loaded already. Its entry points are declared rather than
// linked, so that they are torch's own and so is the pool, with the cores that vLLM bound its threads to.

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <vector>

extern "C" {
void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags);
int omp_get_thread_num();
int omp_get_num_threads();

// The ctypes structures of the same names mirror these.
struct Layer {
    const uint16_t *a, *b;        // [slots, slices * rank, in]; [slots, slices * rank, out], block-diagonal
    int64_t a_stride, b_stride;   // from slot to slot
    int64_t in, rank, slices;
    const int64_t *out;           // of each slice
};
struct Batch {
    const int64_t *runs;          // slot, start, end of each, in order
    int64_t count, threads;
    int64_t one_a;                // all slots have the A of slot 0
    const uint16_t *sign;         // of each token: 0x8000 where the columns from `negate` to `negate_end` are negated
    int64_t negate, negate_end;
};
}

namespace {

constexpr int GROUP = 8;  // tokens whose sums over ranks are in registers at once: two vectors each
constexpr int LANES = 32; // bfloat16 in a vector

struct alignas(64) Vector {
    uint16_t lanes[LANES];
};
struct Call {
    const Layer &layer;
    const Batch &batch;
    const uint16_t *x;
    uint16_t *y;
    int64_t x_stride, y_stride, out;
    float scale;
};

int64_t pairs_of(const Layer &layer) { return (layer.rank + 1) / 2; }

__mmask32 mask_of(int64_t left) { return left >= LANES ? ~0u : (1u << left) - 1; }

__m512bh load(const uint16_t *from) { return (__m512bh)_mm512_loadu_si512(from); }

__m512bh load(const uint16_t *from, __mmask32 mask) { return (__m512bh)_mm512_maskz_loadu_epi16(mask, from); }

// Sums of the lanes of four vectors, each in the same order.
__m128 lane_sums(__m512 a, __m512 b, __m512 c, __m512 d) {
    __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    __m512 sums = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(sums), _mm512_extractf32x8_ps(sums, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

// h[t][column] of T <= 4 tokens from `token` on, for R rows of A from `row` on.
template <int T, int R> void project(const Call &call, const uint16_t *a, int64_t token, int64_t row, uint16_t *h) {
    const Layer &layer = call.layer;
    const uint16_t *x = call.x + token * call.x_stride;
    __m512 sums[4][R];
    for (auto &of_token : sums)
        for (auto &sum : of_token) sum = _mm512_setzero_ps();
    a += row * layer.in;
    int64_t k = 0;
    for (; k + LANES <= layer.in; k += LANES) {
        __m512bh columns[T];
        for (int t = 0; t < T; t++) columns[t] = load(x + t * call.x_stride + k);
        for (int r = 0; r < R; r++) {
            __m512bh weights = load(a + r * layer.in + k);
            for (int t = 0; t < T; t++) sums[t][r] = _mm512_dpbf16_ps(sums[t][r], columns[t], weights);
        }
    }
    if (__mmask32 mask = mask_of(layer.in - k); mask)
        for (int t = 0; t < T; t++)
            for (int r = 0; r < R; r++)
                sums[t][r] = _mm512_dpbf16_ps(sums[t][r], load(x + t * call.x_stride + k, mask),
                                              load(a + r * layer.in + k, mask));
    int64_t pairs = pairs_of(layer), width = layer.slices * pairs * 2;
    for (int r = 0; r < R; r++) {
        int64_t slice = (row + r) / layer.rank, column = (row + r) % layer.rank;
        __m128bh rounded = _mm_cvtneps_pbh(lane_sums(sums[0][r], sums[1][r], sums[2][r], sums[3][r]));
        uint64_t bits = _mm_cvtsi128_si64((__m128i)rounded);
        bool negated = column >= call.batch.negate && column < call.batch.negate_end;
        for (int t = 0; t < T; t++)
            h[t * width + slice * pairs * 2 + column] = (bits >> 16 * t) ^ (negated ? call.batch.sign[token + t] : 0);
    }
}

template <int T> void project(const Call &call, const uint16_t *a, int64_t token, uint16_t *h) {
    int64_t rows = call.layer.slices * call.layer.rank, row = 0;
    for (; row + 5 <= rows; row += 5) project<T, 5>(call, a, token, row, h);
    for (; row + 2 <= rows; row += 2) project<T, 2>(call, a, token, row, h);
    if (row < rows) project<T, 1>(call, a, token, row, h);
}

// y[t] += scale * h[t] B^T of N tokens from `token` on, for one slice; `b` is as `interleave` leaves it.
template <int N>
void expand(const Call &call, const uint16_t *h, const Vector *b, int64_t token, int64_t slice, int64_t offset) {
    const __m512i restore = _mm512_set_epi16(31, 30, 29, 28, 15, 14, 13, 12, 27, 26, 25, 24, 11, 10, 9, 8,
                                             23, 22, 21, 20, 7, 6, 5, 4, 19, 18, 17, 16, 3, 2, 1, 0);
    const __m512 scale = _mm512_set1_ps(call.scale);
    int64_t pairs = pairs_of(call.layer), width = call.layer.slices * pairs * 2, out = call.layer.out[slice];
    h += slice * pairs * 2;
    for (int64_t o = 0; o < out; o += LANES) {
        __m512 low[N], high[N];
        for (int t = 0; t < N; t++) low[t] = high[t] = _mm512_setzero_ps();
        for (int64_t p = 0; p < pairs; p++, b += 2) {
            __m512bh b_low = load(b[0].lanes), b_high = load(b[1].lanes);
            for (int t = 0; t < N; t++) {
                int32_t pair;
                __builtin_memcpy(&pair, h + t * width + p * 2, sizeof pair);
                __m512bh both = (__m512bh)_mm512_set1_epi32(pair);
                low[t] = _mm512_dpbf16_ps(low[t], both, b_low);
                high[t] = _mm512_dpbf16_ps(high[t], both, b_high);
            }
        }
        __mmask32 mask = mask_of(out - o);
        for (int t = 0; t < N; t++) {
            uint16_t *y = call.y + (token + t) * call.y_stride + offset + o;
            __m512i old = ~mask ? _mm512_maskz_loadu_epi16(mask, y) : _mm512_loadu_si512(y);
            __m512 old_low = (__m512)_mm512_unpacklo_epi16(_mm512_setzero_si512(), old);
            __m512 old_high = (__m512)_mm512_unpackhi_epi16(_mm512_setzero_si512(), old);
            __m512bh sum = _mm512_cvtne2ps_pbh(_mm512_fmadd_ps(scale, high[t], old_high),
                                               _mm512_fmadd_ps(scale, low[t], old_low));
            __m512i ordered = _mm512_permutexvar_epi16(restore, (__m512i)sum);
            if (~mask)
                _mm512_mask_storeu_epi16(y, mask, ordered);
            else
                _mm512_storeu_si512(y, ordered);
        }
    }
}

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
