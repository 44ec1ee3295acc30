// What the parts of the null device share: counters, the memory that it has given out, and names of what was called.
#pragma once
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#define EXPORT extern "C" __attribute__((visibility("default")))
#define SUCCEEDS(name) \
    EXPORT int name(...) { return 0; }

// In the order of COUNTERS in counting.py, which reads them as one array.
struct Counters {
    std::atomic<long> launches, products, convolutions, norms, solvers, memsets;
    std::atomic<long> stream_syncs, device_syncs, event_syncs;
    std::atomic<long> h2d, d2h, d2d, h2d_bytes, d2h_bytes, d2d_bytes;
    std::atomic<long> pageable;  // copies that the driver may wait for: one end is host memory that is not pinned
    std::atomic<long> mallocs, collectives, collective_bytes;
    std::atomic<long> graphs;  // launches of a whole CUDA graph
};
extern Counters counters;

extern std::mutex guard;  // of everything below
typedef std::map<uintptr_t, size_t> Blocks;
extern Blocks device_blocks, pinned_blocks;
extern std::map<std::string, long> calls;  // of libraries, by name

bool holds(Blocks& blocks, const void* pointer);
void called(const std::string& name);
int devices();
size_t device_bytes();
int capability();  // compute capability times 10: 80 is an A100's
void* handle();    // of an object that nobody looks into
int waited();      // what a wait of the host answers: an error while anything is captured

constexpr size_t COPIED = 64u << 20;  // larger blocks are left as they are: nothing looks at their values
