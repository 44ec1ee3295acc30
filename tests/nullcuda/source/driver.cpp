// The CUDA driver and nvrtc, as far as torch and its libraries ask them directly.
#include "null.h"

#include "driver_types.h"

EXPORT cudaError_t cudaDeviceGetAttribute(int*, enum cudaDeviceAttr, int);

SUCCEEDS(cuInit)
SUCCEEDS(cuCtxSetCurrent)
SUCCEEDS(cuCtxSetLimit)
SUCCEEDS(cuFuncSetAttribute)
SUCCEEDS(cuFuncSetCacheConfig)
SUCCEEDS(cuLinkAddData_v2)
SUCCEEDS(cuLinkComplete)
SUCCEEDS(cuLinkCreate_v2)
SUCCEEDS(cuModuleUnload)
SUCCEEDS(cuTensorMapEncodeTiled)

#define GIVES_HANDLE(name)              \
    EXPORT int name(void** out, ...) {  \
        *out = handle();                \
        return 0;                       \
    }
GIVES_HANDLE(cuModuleGetFunction)
GIVES_HANDLE(cuModuleLoad)
GIVES_HANDLE(cuModuleLoadData)
GIVES_HANDLE(cuModuleLoadDataEx)
GIVES_HANDLE(cuDevicePrimaryCtxRetain)
GIVES_HANDLE(nvrtcCreateProgram)

EXPORT int cuLaunchKernel(...) {
    counters.launches++;
    called("cuLaunchKernel");
    return 0;
}
EXPORT int cuLaunchCooperativeKernel(...) { return cuLaunchKernel(); }
EXPORT int cuLaunchKernelEx(...) { return cuLaunchKernel(); }  // Triton's
EXPORT int cuCtxGetDevice(int* device) {
    *device = 0;
    return 0;
}
EXPORT int cuCtxGetLimit(size_t* value, int) {
    *value = 0;
    return 0;
}
EXPORT int cuCtxGetCurrent(void** context) {
    static void* only = handle();
    *context = only;
    return 0;
}
EXPORT int cuDeviceGet(int* device, int index) {
    *device = index;
    return 0;
}
EXPORT int cuDeviceGetAttribute(int* value, int attribute, int device) {
    return cudaDeviceGetAttribute(value, (cudaDeviceAttr)attribute, device);
}
EXPORT int cuDeviceGetCount(int* count) {
    *count = devices();
    return 0;
}
EXPORT int cuDevicePrimaryCtxGetState(int, unsigned* flags, int* active) {
    if (flags) *flags = 0;
    *active = 1;
    return 0;
}
EXPORT int cuDriverGetVersion(int* version) {
    *version = 13000;
    return 0;
}
EXPORT int cuFuncGetAttribute(int* value, int attribute, void*) {
    *value = attribute == 0 ? 1024 : 0;  // threads of a block, at most
    return 0;
}
EXPORT int cuGetErrorString(int, const char** text) {
    *text = "null device";
    return 0;
}
EXPORT int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void*, int, size_t) {
    *blocks = 1;
    return 0;
}
EXPORT int cuPointerGetAttribute(void* value, int, unsigned long long) {
    *(unsigned*)value = 0;
    return 0;
}

// nvrtc: kernels that torch compiles at run time.
SUCCEEDS(nvrtcCompileProgram)
SUCCEEDS(nvrtcDestroyProgram)
SUCCEEDS(nvrtcAddNameExpression)
SUCCEEDS(nvrtcGetProgramLog)
EXPORT int nvrtcVersion(int* major, int* minor) {
    *major = 13;
    *minor = 0;
    return 0;
}
EXPORT int nvrtcGetProgramLogSize(void*, size_t* size) {
    *size = 1;
    return 0;
}
EXPORT int nvrtcGetCUBINSize(void*, size_t* size) {
    *size = 8;
    return 0;
}
EXPORT int nvrtcGetPTXSize(void*, size_t* size) { return nvrtcGetCUBINSize(nullptr, size); }
EXPORT int nvrtcGetCUBIN(void*, char* code) {
    memset(code, 0, 8);
    return 0;
}
EXPORT int nvrtcGetPTX(void*, char* code) { return nvrtcGetCUBIN(nullptr, code); }
EXPORT int nvrtcGetLoweredName(void*, const char*, const char** name) {
    *name = "kernel";
    return 0;
}
EXPORT const char* nvrtcGetErrorString(int) { return "null device"; }
