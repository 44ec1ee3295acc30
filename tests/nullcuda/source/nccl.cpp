// NCCL: groups that come together without a message. Small results are those of processes that all hold the same.
#include "null.h"

struct Identity {
    char bytes[128];
};
struct Communicator {
    int size, rank;
};

EXPORT int ncclGetUniqueId(Identity* identity) {
    memset(identity, 7, sizeof *identity);
    return 0;
}
EXPORT int ncclCommInitRank(void** communicator, int size, Identity, int rank) {
    *communicator = new Communicator{size, rank};
    return 0;
}
EXPORT int ncclCommInitRankConfig(void** communicator, int size, Identity identity, int rank, void*) {
    return ncclCommInitRank(communicator, size, identity, rank);
}
EXPORT int ncclCommInitRankScalable(void** communicator, int size, int rank, int, void*, void*) {
    return ncclCommInitRank(communicator, size, Identity(), rank);
}
EXPORT int ncclCommSplit(Communicator* whole, int, int, void** communicator, void*) {
    return ncclCommInitRank(communicator, whole->size, Identity(), whole->rank);
}
EXPORT int ncclCommGetAsyncError(void*, int* error) {
    *error = 0;
    return 0;
}
EXPORT int ncclCommCount(Communicator* communicator, int* size) {
    *size = communicator->size;
    return 0;
}
EXPORT int ncclCommUserRank(Communicator* communicator, int* rank) {
    *rank = communicator->rank;
    return 0;
}
SUCCEEDS(ncclCommFinalize)
SUCCEEDS(ncclCommDestroy)
SUCCEEDS(ncclCommAbort)
SUCCEEDS(ncclCommRegister)
SUCCEEDS(ncclCommDeregister)
SUCCEEDS(ncclGroupStart)
SUCCEEDS(ncclGroupEnd)
SUCCEEDS(ncclGroupSimulateEnd)
EXPORT int ncclGetVersion(int* version) {
    *version = 22703;
    return 0;
}
EXPORT const char* ncclGetErrorString(int) { return "null device"; }
EXPORT const char* ncclGetLastError(void*) { return "null device"; }

static size_t bytes(size_t count, int type) {  // of ncclDataType_t
    static const size_t sizes[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2, 1, 1};
    return count * sizes[type];
}
static int collective(const char* name, size_t bytes) {
    counters.collectives++;
    counters.collective_bytes += bytes;
    called(std::string(name) + " " + std::to_string(bytes) + " B");
    return 0;
}

EXPORT int ncclAllReduce(const void* in, void* out, size_t count, int type, int, void*, void*) {
    size_t size = bytes(count, type);
    if (in != out && size <= COPIED) memcpy(out, in, size);
    return collective("ncclAllReduce", size);
}
EXPORT int ncclAllGather(const void* in, void* out, size_t count, int type, Communicator* communicator, void*) {
    size_t size = bytes(count, type);
    for (int rank = 0; rank < communicator->size && size <= COPIED; rank++) memmove((char*)out + rank * size, in, size);
    return collective("ncclAllGather", size);
}
EXPORT int ncclBroadcast(const void* in, void* out, size_t count, int type, int, void*, void*) {
    return collective("ncclBroadcast", bytes(count, type));
}
EXPORT int ncclBcast(void*, size_t count, int type, int, void*, void*) {
    return collective("ncclBroadcast", bytes(count, type));
}
EXPORT int ncclReduce(const void*, void*, size_t count, int type, int, int, void*, void*) {
    return collective("ncclReduce", bytes(count, type));
}
EXPORT int ncclReduceScatter(const void*, void*, size_t count, int type, int, void*, void*) {
    return collective("ncclReduceScatter", bytes(count, type));
}
EXPORT int ncclSend(const void*, size_t count, int type, int, void*, void*) {
    return collective("ncclSend", bytes(count, type));
}
EXPORT int ncclRecv(void*, size_t count, int type, int, void*, void*) {
    return collective("ncclRecv", bytes(count, type));
}
