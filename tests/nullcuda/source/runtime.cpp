// The CUDA runtime: empty kernels, real memory on the host, and counters of everything that is asked.
#include "null.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <unordered_map>
#include <vector>

#include "driver_types.h"

Counters counters;
std::mutex guard;
Blocks device_blocks, pinned_blocks;
std::map<std::string, long> calls;

static size_t used = 0;
static thread_local int current = 0;

// Registered before this library's own constructors may have run, so made at first use.
static std::unordered_map<const void*, std::string>& kernel_names() {
    static auto* names = new std::unordered_map<const void*, std::string>;
    return *names;
}

static std::map<const void*, long>& kernel_launches() {
    static auto* launches = new std::map<const void*, long>;
    return *launches;
}

bool holds(Blocks& blocks, const void* pointer) {
    auto after = blocks.upper_bound((uintptr_t)pointer);
    if (after == blocks.begin()) return false;
    --after;
    return (uintptr_t)pointer < after->first + after->second;
}

void called(const std::string& name) {
    std::lock_guard<std::mutex> lock(guard);
    calls[name]++;
}

int devices() {
    const char* text = getenv("NULLCUDA_DEVICES");
    int count = text ? atoi(text) : 1;
    const char* visible = getenv("CUDA_VISIBLE_DEVICES");
    if (!visible) return count;
    if (!*visible) return 0;
    return std::min<int>(count, 1 + std::count(visible, visible + strlen(visible), ','));
}

size_t device_bytes() {
    const char* text = getenv("NULLCUDA_GIB");
    return (size_t)((text ? atof(text) : 80.0) * (1ull << 30));
}

int capability() {
    const char* text = getenv("NULLCUDA_CAPABILITY");
    return text ? atoi(text) : 80;
}

void* handle() { return calloc(1, 512); }

// What counting.py calls.
EXPORT void nullcuda_reset() {
    std::lock_guard<std::mutex> lock(guard);
    memset((void*)&counters, 0, sizeof counters);
    kernel_launches().clear();
    calls.clear();
}

EXPORT void nullcuda_counts(long* values) {
    auto* counter = (std::atomic<long>*)&counters;
    for (size_t i = 0; i < sizeof counters / sizeof *counter; i++) values[i] = counter[i];
}

EXPORT void nullcuda_convolutions(int count) { counters.convolutions += count; }

EXPORT void nullcuda_write_calls(const char* path) {
    std::lock_guard<std::mutex> lock(guard);
    FILE* file = fopen(path, "w");
    for (auto& launched : kernel_launches()) {
        auto named = kernel_names().find(launched.first);
        fprintf(file, "%ld\t%s\n", launched.second, named == kernel_names().end() ? "?" : named->second.c_str());
    }
    for (auto& call : calls) fprintf(file, "%ld\t%s\n", call.second, call.first.c_str());
    fclose(file);
}

// Kernels: what a compiler registers at load time, and launches.
EXPORT void** __cudaRegisterFatBinary(void*) {
    static void* binary;
    return &binary;
}
EXPORT void __cudaRegisterFatBinaryEnd(void**) {}
EXPORT void __cudaUnregisterFatBinary(void**) {}
EXPORT void __cudaRegisterFunction(
    void**, const char* host, char*, const char* name, int, void*, void*, void*, void*, int*
) {
    std::lock_guard<std::mutex> lock(guard);
    kernel_names()[host] = name;
}
EXPORT void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}
EXPORT char __cudaInitModule(void**) { return 1; }

struct Configuration {
    dim3 grid, block;
    size_t shared;
    void* stream;
};
static thread_local std::vector<Configuration> configurations;

EXPORT unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void* stream) {
    configurations.push_back({grid, block, shared, stream});
    return 0;
}
EXPORT cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
    if (configurations.empty()) return cudaErrorUnknown;
    Configuration last = configurations.back();
    configurations.pop_back();
    *grid = last.grid;
    *block = last.block;
    *shared = last.shared;
    *(void**)stream = last.stream;
    return cudaSuccess;
}
EXPORT cudaError_t __cudaGetKernel(void** kernel, const void* function) {
    *kernel = (void*)function;
    return cudaSuccess;
}

static cudaError_t launch(const void* function) {
    counters.launches++;
    std::lock_guard<std::mutex> lock(guard);
    kernel_launches()[function]++;
    return cudaSuccess;
}
EXPORT cudaError_t __cudaLaunchKernel(void* function, dim3, dim3, void**, size_t, void*) { return launch(function); }
EXPORT cudaError_t cudaLaunchKernel(const void* f, dim3, dim3, void**, size_t, void*) { return launch(f); }
EXPORT cudaError_t cudaLaunchCooperativeKernel(const void* f, dim3, dim3, void**, size_t, void*) { return launch(f); }
EXPORT cudaError_t cudaLaunchKernelExC(const void*, const void* function, void**) { return launch(function); }

EXPORT cudaError_t cudaLibraryLoadData(void** library, ...) {
    *library = handle();
    return cudaSuccess;
}
EXPORT cudaError_t cudaLibraryGetKernel(void** kernel, void*, const char*) {
    *kernel = handle();
    return cudaSuccess;
}
SUCCEEDS(cudaLibraryUnload)
SUCCEEDS(cudaKernelSetAttributeForDevice)
SUCCEEDS(cudaFuncSetAttribute)
EXPORT cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
    memset(attributes, 0, sizeof *attributes);
    attributes->numRegs = 32;
    attributes->maxThreadsPerBlock = 1024;
    attributes->ptxVersion = attributes->binaryVersion = capability();
    attributes->maxDynamicSharedSizeBytes = 166912;
    return cudaSuccess;
}
EXPORT cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    int* blocks, const void*, int size, size_t, unsigned
) {
    *blocks = size ? std::max(1, 2048 / size) : 1;
    return cudaSuccess;
}

// The device: an A100 by its numbers.
EXPORT cudaError_t cudaGetDeviceCount(int* count) {
    *count = devices();
    return *count ? cudaSuccess : cudaErrorNoDevice;
}
EXPORT cudaError_t cudaGetDevice(int* device) {
    *device = current;
    return cudaSuccess;
}
EXPORT cudaError_t cudaSetDevice(int device) {
    if (device < 0 || device >= devices()) return cudaErrorInvalidDevice;
    current = device;
    return cudaSuccess;
}
EXPORT cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "null device");
    p->uuid.bytes[0] = device + 1;
    p->pciBusID = device + 1;
    p->totalGlobalMem = device_bytes();
    p->major = capability() / 10;
    p->minor = capability() % 10;
    p->warpSize = 32;
    p->multiProcessorCount = 108;
    p->maxThreadsPerMultiProcessor = 2048;
    p->maxBlocksPerMultiProcessor = 32;
    p->maxThreadsPerBlock = p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
    p->maxThreadsDim[2] = 64;
    p->maxGridSize[0] = p->memPitch = 2147483647;
    p->maxGridSize[1] = p->maxGridSize[2] = 65535;
    p->regsPerBlock = p->regsPerMultiprocessor = p->totalConstMem = 65536;
    p->sharedMemPerBlock = 49152;
    p->sharedMemPerMultiprocessor = 167936;
    p->sharedMemPerBlockOptin = 166912;
    p->reservedSharedMemPerBlock = 1024;
    p->l2CacheSize = 41943040;
    p->memoryBusWidth = 5120;
    p->textureAlignment = 512;
    p->asyncEngineCount = 3;
    p->unifiedAddressing = p->concurrentKernels = p->canMapHostMemory = 1;
    p->managedMemory = p->cooperativeLaunch = p->hostRegisterSupported = 1;
    return cudaSuccess;
}
EXPORT cudaError_t cudaDeviceGetAttribute(int* value, enum cudaDeviceAttr attribute, int) {
    switch (attribute) {
        case cudaDevAttrMaxThreadsPerBlock:
        case cudaDevAttrMaxBlockDimX:
        case cudaDevAttrMaxBlockDimY: *value = 1024; break;
        case cudaDevAttrMaxSharedMemoryPerBlock: *value = 49152; break;
        case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = 166912; break;
        case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = 167936; break;
        case cudaDevAttrMultiProcessorCount: *value = 108; break;
        case cudaDevAttrMaxThreadsPerMultiProcessor: *value = 2048; break;
        case cudaDevAttrComputeCapabilityMajor: *value = capability() / 10; break;
        case cudaDevAttrComputeCapabilityMinor: *value = capability() % 10; break;
        case cudaDevAttrWarpSize: *value = 32; break;
        case cudaDevAttrMaxGridDimX: *value = 2147483647; break;
        case cudaDevAttrMaxGridDimY:
        case cudaDevAttrMaxGridDimZ: *value = 65535; break;
        case cudaDevAttrMaxRegistersPerBlock: *value = 65536; break;
        case cudaDevAttrL2CacheSize: *value = 41943040; break;
        default: *value = 0;
    }
    return cudaSuccess;
}
EXPORT cudaError_t cudaDeviceGetPCIBusId(char* text, int size, int device) {
    snprintf(text, size, "0000:%02d:00.0", device + 1);
    return cudaSuccess;
}
EXPORT cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
    *can = 1;
    return cudaSuccess;
}
EXPORT cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
    if (least) *least = 0;
    if (greatest) *greatest = -5;
    return cudaSuccess;
}
EXPORT cudaError_t cudaRuntimeGetVersion(int* version) {
    *version = 13000;  // 13.0
    return cudaSuccess;
}
EXPORT cudaError_t cudaDriverGetVersion(int* version) { return cudaRuntimeGetVersion(version); }
SUCCEEDS(cudaDeviceEnablePeerAccess)
SUCCEEDS(cudaGetLastError)
SUCCEEDS(cudaPeekAtLastError)
EXPORT const char* cudaGetErrorString(cudaError_t error) {
    static thread_local char text[64];
    snprintf(text, sizeof text, "null device: error %d", (int)error);
    return text;
}
EXPORT const char* cudaGetErrorName(cudaError_t error) { return cudaGetErrorString(error); }

// Memory: address space without pages behind it until they are touched.
EXPORT cudaError_t cudaMalloc(void** pointer, size_t bytes) {
    counters.mallocs++;
    std::lock_guard<std::mutex> lock(guard);
    *pointer = nullptr;
    if (used + bytes > device_bytes()) return cudaErrorMemoryAllocation;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void* block = mmap(nullptr, std::max<size_t>(bytes, 4096), PROT_READ | PROT_WRITE, flags, -1, 0);
    if (block == MAP_FAILED) return cudaErrorMemoryAllocation;
    device_blocks[(uintptr_t)block] = bytes;
    used += bytes;
    *pointer = block;
    return cudaSuccess;
}
EXPORT cudaError_t cudaFree(void* pointer) {
    std::lock_guard<std::mutex> lock(guard);
    auto block = device_blocks.find((uintptr_t)pointer);
    if (block == device_blocks.end()) return cudaSuccess;
    munmap(pointer, std::max<size_t>(block->second, 4096));
    used -= block->second;
    device_blocks.erase(block);
    return cudaSuccess;
}
EXPORT cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
    std::lock_guard<std::mutex> lock(guard);
    *total = device_bytes();
    *free = device_bytes() - used;
    return cudaSuccess;
}
EXPORT cudaError_t cudaHostRegister(void* pointer, size_t bytes, unsigned) {
    std::lock_guard<std::mutex> lock(guard);
    pinned_blocks[(uintptr_t)pointer] = bytes;
    return cudaSuccess;
}
EXPORT cudaError_t cudaHostUnregister(void* pointer) {
    std::lock_guard<std::mutex> lock(guard);
    pinned_blocks.erase((uintptr_t)pointer);
    return cudaSuccess;
}
EXPORT cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned flags) {
    if (posix_memalign(pointer, 4096, std::max<size_t>(bytes, 1))) return cudaErrorMemoryAllocation;
    return cudaHostRegister(*pointer, bytes, flags);
}
EXPORT cudaError_t cudaFreeHost(void* pointer) {
    cudaHostUnregister(pointer);
    free(pointer);
    return cudaSuccess;
}
EXPORT cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
    memset(attributes, 0, sizeof *attributes);
    std::lock_guard<std::mutex> lock(guard);
    bool on_device = holds(device_blocks, pointer), pinned = holds(pinned_blocks, pointer);
    attributes->type = on_device ? cudaMemoryTypeDevice : pinned ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
    if (on_device) attributes->devicePointer = (void*)pointer;
    else attributes->hostPointer = (void*)pointer;
    attributes->device = current;
    return cudaSuccess;
}

static cudaError_t copy(void* to, const void* from, size_t bytes) {
    bool from_device, to_device, pinned;
    {
        std::lock_guard<std::mutex> lock(guard);
        from_device = holds(device_blocks, from);
        to_device = holds(device_blocks, to);
        pinned = holds(pinned_blocks, from) || holds(pinned_blocks, to);
    }
    if (from_device && to_device) {
        counters.d2d++;
        counters.d2d_bytes += bytes;
    } else if (to_device) {
        counters.h2d++;
        counters.h2d_bytes += bytes;
    } else if (from_device) {
        counters.d2h++;
        counters.d2h_bytes += bytes;
    }
    if (from_device != to_device && !pinned) counters.pageable++;
    if (bytes <= COPIED) memcpy(to, from, bytes);
    return cudaSuccess;
}
EXPORT cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, enum cudaMemcpyKind, void*) {
    return copy(to, from, bytes);
}
EXPORT cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t bytes, void*) {
    return copy(to, from, bytes);
}
EXPORT cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, enum cudaMemcpyKind) {
    counters.stream_syncs++;
    return copy(to, from, bytes);
}
EXPORT cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, void*) {
    counters.memsets++;
    if (bytes <= COPIED) memset(to, value, bytes);
    return cudaSuccess;
}
EXPORT cudaError_t cudaMemset(void* to, int value, size_t bytes) { return cudaMemsetAsync(to, value, bytes, nullptr); }
SUCCEEDS(cudaMemcpyToSymbol)
EXPORT cudaError_t cudaGetSymbolAddress(void** pointer, const void*) {
    static char symbols[1 << 16];
    *pointer = symbols;
    return cudaSuccess;
}

// Streams and events: everything is done at once, so all are always ready.
EXPORT cudaError_t cudaStreamCreateWithPriority(void** stream, unsigned, int) {
    *stream = handle();
    return cudaSuccess;
}
EXPORT cudaError_t cudaStreamCreateWithFlags(void** stream, unsigned) {
    *stream = handle();
    return cudaSuccess;
}
EXPORT cudaError_t cudaEventCreateWithFlags(void** event, unsigned) {
    *event = handle();
    return cudaSuccess;
}
EXPORT cudaError_t cudaEventCreate(void** event) { return cudaEventCreateWithFlags(event, 0); }
EXPORT cudaError_t cudaEventDestroy(void* event) {
    free(event);
    return cudaSuccess;
}
EXPORT cudaError_t cudaEventElapsedTime(float* milliseconds, void*, void*) {
    *milliseconds = 1.0f;
    return cudaSuccess;
}
EXPORT cudaError_t cudaDeviceSynchronize() {
    counters.device_syncs++;
    return (cudaError_t)waited();
}
EXPORT cudaError_t cudaStreamSynchronize(void*) {
    counters.stream_syncs++;
    return (cudaError_t)waited();
}
EXPORT cudaError_t cudaEventSynchronize(void*) {
    counters.event_syncs++;
    return (cudaError_t)waited();
}
EXPORT cudaError_t cudaStreamAddCallback(
    void* stream, void (*function)(void*, cudaError_t, void*), void* argument, unsigned
) {
    function(stream, cudaSuccess, argument);
    return cudaSuccess;
}
SUCCEEDS(cudaStreamDestroy)
SUCCEEDS(cudaStreamQuery)
SUCCEEDS(cudaStreamWaitEvent)
SUCCEEDS(cudaEventQuery)
SUCCEEDS(cudaEventRecord)
SUCCEEDS(cudaEventRecordWithFlags)

// The runtime's way to the driver (driver.cpp): what it does not name there succeeds and does nothing.
SUCCEEDS(nullcuda_nothing)
EXPORT cudaError_t cudaGetDriverEntryPointByVersion(
    const char*, void** function, unsigned, unsigned long long, int* status
) {
    *function = (void*)nullcuda_nothing;
    if (status) *status = 0;
    return cudaSuccess;
}
