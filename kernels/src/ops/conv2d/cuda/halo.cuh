// What the kernels with a halo share, those of the FP32 units (conv2d_halo.cu) and those of the tensor cores
// (halo_mma.cuh).
//
// 3x3 kernels of stride 1, which read every value of an image 9 times. A block computes HALO_ROWS x HALO_COLUMNS pixels
// of one image, and keeps what their windows read, of CHUNK channels, in shared memory: the halo. So values are loaded,
// mapped, and looked for inside of the image once and not for every tap. What is left of a tap is to read at addresses
// that the compiler knows, and to multiply.
#pragma once
#include "conv2d.cuh"

#define CHUNK 32
#define HALO_OUTPUTS 32 // channels that a block computes
#define HALO_ROWS 8
#define HALO_COLUMNS 16
#define HALO_TAPS 3
#define HALO_WIDTH (HALO_COLUMNS + HALO_TAPS - 1)
#define HALO_PIXELS ((HALO_ROWS + HALO_TAPS - 1) * HALO_WIDTH)

// Loads 4 channels from `channel` on of COUNT pixels, those at place(i), and maps them. All loads are on their way
// before the first is needed.
template <u32 COUNT, class Place>
__device__ __forceinline__ void load_mapped(const float *from, const Map &map, u32 channel, const Place &place, Vec<4> (&value)[COUNT]) {
    u32 inside = 0;
#pragma unroll
    for (u32 i = 0; i < COUNT; ++i) {
        const Read read = place(i);
        value[i] = load<4>(from + (read.inside ? read.index : 0), read.inside);
        inside |= (read.inside ? 1u : 0u) << i;
    }
    if (map.scale) {
        Affine<4> affine;
        affine.of(map, channel, inside != 0);
#pragma unroll
        for (u32 i = 0; i < COUNT; ++i) {
            if (inside >> i & 1) {
                affine.apply(value[i]);
            }
        }
    }
}

// A tile of pixels of one image. Some of them may be outside of it, below and to the right.
struct HaloTile {
    u32 image;
    int row, column; // its first pixel

    static __device__ __forceinline__ u32 across(const Conv &p) { return (p.out_w + HALO_COLUMNS - 1) / HALO_COLUMNS; }
    static __device__ __forceinline__ u32 down(const Conv &p) { return (p.out_h + HALO_ROWS - 1) / HALO_ROWS; }

    static __device__ __forceinline__ HaloTile of(const Conv &p, u32 index) {
        const u32 column = index % across(p), line = index / across(p);
        return {line / down(p), static_cast<int>(line % down(p) * HALO_ROWS), static_cast<int>(column * HALO_COLUMNS)};
    }

    __device__ __forceinline__ u32 pixel(const Conv &p, u32 row, u32 column) const { return (image * p.out_h + row) * p.out_w + column; }

    // put(pixel of the tile, channel, 4 channels, and those of the next pixel) of a gradient `dy`, for all pairs of
    // pixels and HALO_OUTPUTS channels from `column0` of the group on, in a block of COUNT threads.
    template <u32 COUNT, class Put>
    __device__ __forceinline__ void load(const Conv &p, const Map &map, const float *dy, u32 group, u32 column0, const Put &put) const {
        constexpr u32 VECS = HALO_OUTPUTS / 4, PAIRS = HALO_ROWS * HALO_COLUMNS / 2, LOADS = (PAIRS * VECS + COUNT - 1) / COUNT;
        const u32 channel = threadIdx.x % VECS * 4, first = group * p.group_out + column0 + channel;
        const auto pair_of = [](u32 i) { return (threadIdx.x + i * COUNT) / VECS; };
        const auto place = [&](u32 i) {
            const u32 of_tile = 2 * pair_of(i / 2) + i % 2;
            const u32 y = row + of_tile / HALO_COLUMNS, x = column + of_tile % HALO_COLUMNS;
            const bool inside = pair_of(i / 2) < PAIRS && y < p.out_h && x < p.out_w && column0 + channel < p.group_out;
            return Read{pixel(p, y, x) * p.out_channels + first, inside};
        };
        Vec<4> value[2 * LOADS];
        load_mapped(dy, map, first, place, value);
#pragma unroll
        for (u32 i = 0; i < LOADS; ++i) {
            if (pair_of(i) < PAIRS) {
                put(2 * pair_of(i), channel, value[2 * i], value[2 * i + 1]);
            }
        }
    }
};

// The tiles that a block of a weight gradient sums, whose last index of the grid is of splits x groups.
struct HaloSplit {
    u32 split, group, begin, end;

    __device__ __forceinline__ HaloSplit(const Conv &p, u32 splits) : split(blockIdx.z % splits), group(blockIdx.z / splits) {
        const u32 tiles = p.pixels / (p.out_h * p.out_w) * HaloTile::down(p) * HaloTile::across(p);
        const u32 of_split = (tiles + splits - 1) / splits;
        begin = split * of_split;
        end = begin + of_split < tiles ? begin + of_split : tiles;
    }
};

// Which pixels of a halo a thread loads, of a block of COUNT. Most are in one column, so that it is found once whether
// that is inside of the image.
template <u32 COUNT> struct HaloPlaces;

// 16 pixels at a time: those of a row that are in the tile's columns, then the two others of 8 rows.
template <> struct HaloPlaces<8 * HALO_COLUMNS> {
    static constexpr u32 ROWS = HALO_PIXELS / HALO_WIDTH, LOADS = ROWS + 2;
    static_assert((HALO_WIDTH - HALO_COLUMNS) * ROWS <= 2 * HALO_COLUMNS, "the others are two loads");
    const u32 pixel;

    __device__ __forceinline__ HaloPlaces(u32 pixel) : pixel(pixel) {}
    __device__ __forceinline__ u32 other(u32 i) const { return pixel + (i - ROWS) * HALO_COLUMNS; }
    __device__ __forceinline__ u32 row(u32 i) const { return i < ROWS ? i : other(i) / 2; }
    __device__ __forceinline__ u32 column(u32 i) const { return i < ROWS ? pixel : HALO_COLUMNS + other(i) % 2; }
    __device__ __forceinline__ bool exists(u32 i) const { return i < ROWS || other(i) < 2 * ROWS; }
};

// Two rows at a time.
template <> struct HaloPlaces<2 * 8 * HALO_WIDTH> {
    static constexpr u32 LOADS = HALO_PIXELS / HALO_WIDTH / 2;
    const u32 row0, column0;

    __device__ __forceinline__ HaloPlaces(u32 pixel) : row0(pixel / HALO_WIDTH), column0(pixel % HALO_WIDTH) {}
    __device__ __forceinline__ u32 row(u32 i) const { return row0 + 2 * i; }
    __device__ __forceinline__ u32 column(u32) const { return column0; }
    __device__ __forceinline__ bool exists(u32) const { return true; }
};

// What the windows of a tile read, of the channels of group blockIdx.z; of an ADJOINT those go up and to the left, from
// the last tap to the first.
template <bool ADJOINT> struct Halo {
    HaloTile tile;
    int top, left; // its first pixel
    const float *source;

    __device__ __forceinline__ Halo(const Conv &p, const float *in, u32 index, u32 group = blockIdx.z)
        : tile(HaloTile::of(p, index)), top(tile.row - before(p.pad_h)), left(tile.column - before(p.pad_w)),
          source(in + tile.image * p.in_h * p.in_w * p.in_channels + group * p.group_in) {}

    static __device__ __forceinline__ int before(u32 pad) { return ADJOINT ? HALO_TAPS - 1 - static_cast<int>(pad) : static_cast<int>(pad); }

    // What a tap reads for the tile's first pixel.
    static __device__ __forceinline__ u32 pixel_of(u32 tap) {
        const u32 row = tap / HALO_TAPS, column = tap % HALO_TAPS;
        return ADJOINT ? (HALO_TAPS - 1 - row) * HALO_WIDTH + HALO_TAPS - 1 - column : row * HALO_WIDTH + column;
    }

    // put(pixel, channel of the chunk, 4 channels), for all pixels and CHUNK channels from `channel0` on. Of a block of
    // COUNT threads, each has BATCH loads on their way at a time: more would not have registers.
    template <u32 COUNT, u32 BATCH, class Put>
    __device__ __forceinline__ void load(const Conv &p, const Map &map, u32 channel0, const Put &put, u32 group = blockIdx.z) const {
        using Places = HaloPlaces<COUNT>;
        static_assert(Places::LOADS % BATCH == 0, "batches are whole");
        const u32 vec = threadIdx.x % (CHUNK / 4), channel = channel0 + vec * 4;
        const Places places(threadIdx.x / (CHUNK / 4));
#pragma unroll
        for (u32 first = 0; first < Places::LOADS; first += BATCH) {
            const auto place = [&](u32 i) {
                const int row = top + static_cast<int>(places.row(first + i)), column = left + static_cast<int>(places.column(first + i));
                const bool inside = places.exists(first + i) && channel < p.group_in && row >= 0 && row < static_cast<int>(p.in_h) &&
                                    column >= 0 && column < static_cast<int>(p.in_w);
                return Read{(row * p.in_w + column) * p.in_channels + channel, inside};
            };
            Vec<4> value[BATCH];
            load_mapped(source, map, group * p.group_in + channel, place, value);
#pragma unroll
            for (u32 i = 0; i < BATCH; ++i) {
                if (places.exists(first + i)) {
                    put(places.row(first + i) * HALO_WIDTH + places.column(first + i), vec * 4, value[i]);
                }
            }
        }
    }
};

// The weights of a tap, CHUNK depths and HALO_OUTPUTS columns, as a thread loads them: 4 columns of a depth, or 4
// depths of a column of an ADJOINT's.
template <bool ADJOINT> struct TapLoads {
    static constexpr u32 LOADS = CHUNK * HALO_OUTPUTS / 4 / THREADS;
    Vec<4> value[LOADS];

    static __device__ __forceinline__ u32 vec(u32 i) { return threadIdx.x + i * THREADS; }
    static __device__ __forceinline__ u32 depth(u32 i) { return ADJOINT ? vec(i) % (CHUNK / 4) * 4 : vec(i) / (HALO_OUTPUTS / 4); }
    static __device__ __forceinline__ u32 column(u32 i) { return ADJOINT ? vec(i) / (CHUNK / 4) : vec(i) % (HALO_OUTPUTS / 4) * 4; }

    __device__ __forceinline__ void fetch(const Conv &p, const float *__restrict__ w, u32 tap, u32 channel0) {
#pragma unroll
        for (u32 i = 0; i < LOADS; ++i) {
            const u32 c = channel0 + depth(i), k = blockIdx.y * HALO_OUTPUTS + column(i);
            const u32 row = ADJOINT ? tap * p.group_out + k : tap * p.group_in + c;
            const u32 index = row * p.weight_stride + blockIdx.z * (ADJOINT ? p.group_in : p.group_out) + (ADJOINT ? c : k);
            value[i] = load<4>(w + index, c < p.group_in && k < p.group_out);
        }
    }

    // put(depth, column, 4 values)
    template <class Put> __device__ __forceinline__ void each(const Put &put) const {
#pragma unroll
        for (u32 i = 0; i < LOADS; ++i) {
            put(depth(i), column(i), value[i]);
        }
    }
};
