// The two products of a LoRA layer for a few tokens, in registers.
#pragma once

#include <immintrin.h>

#include <cstdint>

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

namespace {

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

} // namespace
