// cuBLAS, cuSOLVER and cuDNN's norms: every product, decomposition or norm is one operation of the device.
#include "null.h"

#define COUNTS(counter, name)  \
    EXPORT int name(...) {     \
        counters.counter++;    \
        called(#name);         \
        return 0;              \
    }
#define CREATES(name)                   \
    EXPORT int name(void** out, ...) {  \
        *out = handle();                \
        return 0;                       \
    }
#define DESTROYS(name)             \
    EXPORT int name(void* object) { \
        free(object);              \
        return 0;                  \
    }

// cuBLAS
CREATES(cublasCreate_v2)
SUCCEEDS(cublasDestroy_v2)
SUCCEEDS(cublasSetStream_v2)
SUCCEEDS(cublasSetWorkspace_v2)
SUCCEEDS(cublasSetMathMode)
SUCCEEDS(cublasSetPointerMode_v2)
SUCCEEDS(cublasSetSmCountTarget)
EXPORT int cublasGetMathMode(void*, int* mode) {
    *mode = 0;
    return 0;
}
EXPORT int cublasGetPointerMode_v2(void*, int* mode) {
    *mode = 0;
    return 0;
}
EXPORT int cublasGetStream_v2(void*, void** stream) {
    *stream = nullptr;
    return 0;
}
COUNTS(products, cublasGemmEx)
COUNTS(products, cublasGemmStridedBatchedEx)
COUNTS(products, cublasSgemm_v2)
COUNTS(products, cublasDgemm_v2)
COUNTS(products, cublasSgemmEx)
COUNTS(products, cublasSgemmStridedBatched)
COUNTS(products, cublasDgemmStridedBatched)
COUNTS(products, cublasSgemmBatched)
COUNTS(products, cublasDgemmBatched)
COUNTS(products, cublasSgemv_v2)
COUNTS(products, cublasDgemv_v2)
COUNTS(products, cublasSdot_v2)
COUNTS(products, cublasDdot_v2)
COUNTS(products, cublasDotEx)
COUNTS(products, cublasLtMatmul)
CREATES(cublasLtMatmulDescCreate)
CREATES(cublasLtMatrixLayoutCreate)
CREATES(cublasLtMatmulPreferenceCreate)
DESTROYS(cublasLtMatmulDescDestroy)
DESTROYS(cublasLtMatrixLayoutDestroy)
DESTROYS(cublasLtMatmulPreferenceDestroy)
SUCCEEDS(cublasLtMatmulDescSetAttribute)
SUCCEEDS(cublasLtMatrixLayoutSetAttribute)
SUCCEEDS(cublasLtMatmulPreferenceSetAttribute)
SUCCEEDS(cublasLtMatmulAlgoInit)
SUCCEEDS(cublasLtMatmulAlgoCheck)
EXPORT int cublasLtMatmulAlgoGetHeuristic(
    void*, void*, void*, void*, void*, void*, void*, int, void* results, int* found
) {
    memset(results, 0, 64);
    *found = 1;
    return 0;
}

// cuSOLVER: symmetric eigenvalues and singular values
CREATES(cusolverDnCreate)
CREATES(cusolverDnCreateParams)
CREATES(cusolverDnCreateGesvdjInfo)
CREATES(cusolverDnCreateSyevjInfo)
SUCCEEDS(cusolverDnDestroy)
SUCCEEDS(cusolverDnDestroyParams)
SUCCEEDS(cusolverDnSetStream)
SUCCEEDS(cusolverDnDestroyGesvdjInfo)
SUCCEEDS(cusolverDnDestroySyevjInfo)
SUCCEEDS(cusolverDnXgesvdjSetTolerance)
SUCCEEDS(cusolverDnXgesvdjSetMaxSweeps)
SUCCEEDS(cusolverDnXgesvdjSetSortEig)
COUNTS(solvers, cusolverDnDgesvdj)
COUNTS(solvers, cusolverDnXsyevd)
EXPORT int cusolverDnDgesvdj_bufferSize(
    void*, int, int, int, int, void*, int, void*, void*, int, void*, int, int* size, void*
) {
    *size = 1;
    return 0;
}
EXPORT int cusolverDnXsyevd_bufferSize(
    void*, void*, int, int, long, int, void*, long, int, void*, int, size_t* on_device, size_t* on_host
) {
    *on_device = *on_host = 8;
    return 0;
}

// cuDNN: convolutions never get here (counting.py), batch norms of some formats do
CREATES(cudnnCreate)
SUCCEEDS(cudnnDestroy)
SUCCEEDS(cudnnSetStream)
CREATES(cudnnCreateTensorDescriptor)
DESTROYS(cudnnDestroyTensorDescriptor)
SUCCEEDS(cudnnSetTensorNdDescriptor)
SUCCEEDS(cudnnGetTensorNdDescriptor)
CREATES(cudnnCreateActivationDescriptor)
DESTROYS(cudnnDestroyActivationDescriptor)
SUCCEEDS(cudnnSetActivationDescriptor)
COUNTS(norms, cudnnBatchNormalizationForwardTrainingEx)
COUNTS(norms, cudnnBatchNormalizationBackwardEx)
COUNTS(norms, cudnnBatchNormalizationForwardInference)
EXPORT int cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(
    void*, int, int, void*, void*, void*, void*, void*, size_t* size
) {
    *size = 1;
    return 0;
}
EXPORT int cudnnGetBatchNormalizationBackwardExWorkspaceSize(
    void*, int, int, void*, void*, void*, void*, void*, void*, void*, size_t* size
) {
    *size = 1;
    return 0;
}
EXPORT int cudnnGetBatchNormalizationTrainingExReserveSpaceSize(void*, int, int, void*, void*, size_t* size) {
    *size = 1;
    return 0;
}
