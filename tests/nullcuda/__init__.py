"""A CUDA device that computes nothing, for tests of what a GPU would be asked on machines that have none.

``source/`` stands in for the CUDA runtime, driver, nvrtc, cuBLAS, cuSOLVER and NCCL by LD_PRELOAD. Kernels are empty,
while all that torch does on the host is real: dispatch, autocast, allocator, DistributedDataParallel's reducer.
So launches, synchronisations, copies, collectives and their bytes, and the allocator's peak are exact.

Values are meaningless: memory holds zeros or what small copies and fills left there. Kernels take no time. A
convolution is one operation without workspace. It cannot show that a GPU computes rightly; it shows what a GPU would be
asked, that nothing mixes devices, and what would run out of memory.

``program.py`` builds it and runs functions under it, ``counting.py`` says inside of them what was asked,
and ``values.py`` lends values to programs that check theirs.
"""
