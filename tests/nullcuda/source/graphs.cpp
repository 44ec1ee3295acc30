// CUDA graphs: what is asked between the begin and the end of a capture counts there; a launch of the graph counts as one.
#include "null.h"

#include "driver_types.h"

static std::map<void*, unsigned long long> capturing;  // streams, with the number of their capture
static unsigned long long captures = 0;

int waited() {
    std::lock_guard<std::mutex> lock(guard);
    return capturing.empty() ? cudaSuccess : cudaErrorStreamCaptureUnsupported;
}

EXPORT cudaError_t cudaStreamBeginCapture(void* stream, enum cudaStreamCaptureMode) {
    std::lock_guard<std::mutex> lock(guard);
    if (!stream) return cudaErrorStreamCaptureUnsupported;  // the default stream cannot be captured
    capturing[stream] = ++captures;
    return cudaSuccess;
}
EXPORT cudaError_t cudaStreamEndCapture(void* stream, void** graph) {
    std::lock_guard<std::mutex> lock(guard);
    if (!capturing.erase(stream)) return cudaErrorIllegalState;
    *graph = handle();
    return cudaSuccess;
}
EXPORT cudaError_t cudaStreamGetCaptureInfo(
    void* stream, int* status, unsigned long long* id, void** graph, void*, void*, size_t* dependencies
) {
    std::lock_guard<std::mutex> lock(guard);
    auto found = capturing.find(stream);
    bool active = found != capturing.end();
    if (status) *status = active ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    if (id) *id = active ? found->second : 0;
    if (graph) *graph = nullptr;
    if (dependencies) *dependencies = 0;
    return cudaSuccess;
}
EXPORT cudaError_t cudaStreamIsCapturing(void* stream, int* status) {
    return cudaStreamGetCaptureInfo(stream, status, nullptr, nullptr, nullptr, nullptr, nullptr);
}
EXPORT cudaError_t cudaGraphGetNodes(void*, void*, size_t* count) {
    *count = 1;  // torch warns of graphs without nodes
    return cudaSuccess;
}
EXPORT cudaError_t cudaGraphInstantiateWithFlags(void** executable, void*, unsigned long long) {
    *executable = handle();
    return cudaSuccess;
}
EXPORT cudaError_t cudaGraphLaunch(void*, void*) {
    counters.graphs++;
    return cudaSuccess;
}
SUCCEEDS(cudaThreadExchangeStreamCaptureMode)
SUCCEEDS(cudaGraphNodeGetDependencies)
SUCCEEDS(cudaGraphDestroy)
SUCCEEDS(cudaGraphExecDestroy)
SUCCEEDS(cudaGraphRetainUserObject)
SUCCEEDS(cudaStreamUpdateCaptureDependencies)
