// Stands in for the compiler's header of this name, which the wheels of the CUDA runtime do not hold.
#pragma once
