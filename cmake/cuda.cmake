# The CUDA backend: a shared object of its own, spade-cuda.so, from the kernels (src/kernels), its host code
# (src/host/backend/cuda) and the stages below it.
#   SPADE_CUDA = AUTO (where nvcc and cuDNN are found), ON (an error where they are not), OFF
set(SPADE_CUDA AUTO CACHE STRING "Build the CUDA backend: AUTO, ON or OFF")
file(GLOB_RECURSE SPADE_CUDA_HOST CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/host/backend/cuda/*.c)
foreach(shared check dispatch autocorrelation filter hessian_desc partial_select strided_copy
    tensor_iterator) # what all backends share
  list(APPEND SPADE_CUDA_HOST ${PROJECT_SOURCE_DIR}/src/host/backend/${shared}.c)
endforeach()
file(GLOB SPADE_CUDA_KERNELS CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/kernels/*.cu)
set(SPADE_CUDA_SUMMARY "not built (SPADE_CUDA=${SPADE_CUDA})")
if(NOT SPADE_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  find_program(SPADE_NVCC nvcc PATHS /usr/local/cuda/bin)
  if(SPADE_NVCC AND NOT CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_COMPILER ${SPADE_NVCC})
  endif()
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90) # code for sm_80 and sm_90, PTX for what comes after
  endif()
  check_language(CUDA)
  find_path(CUDNN_INCLUDE_DIR cudnn_backend.h HINTS /usr/local/cuda/include)
  find_library(CUDNN_LIBRARY cudnn HINTS /usr/local/cuda/lib64 /usr/local/cuda/lib)
  if(CMAKE_CUDA_COMPILER AND CUDNN_INCLUDE_DIR AND CUDNN_LIBRARY)
    enable_language(CUDA)
    find_package(CUDAToolkit REQUIRED)
    add_library(spade_cuda MODULE ${SPADE_CUDA_HOST} ${SPADE_CUDA_KERNELS})
    set_target_properties(spade_cuda PROPERTIES PREFIX "" OUTPUT_NAME spade-cuda CUDA_STANDARD 17 CUDA_STANDARD_REQUIRED ON)
    target_include_directories(spade_cuda PRIVATE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src/host
      ${PROJECT_SOURCE_DIR}/src)
    target_include_directories(spade_cuda SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS} ${CUDNN_INCLUDE_DIR})
    # Kernels whose numbers are the CPU's, bit by bit: a * b + c rounds twice.
    foreach(kernel augment attribution heatmap resample visualize)
      set_source_files_properties(${PROJECT_SOURCE_DIR}/src/kernels/${kernel}.cu PROPERTIES COMPILE_OPTIONS -fmad=false)
    endforeach()
    # A kernel that spills registers does not pass.
    target_compile_options(spade_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-Xptxas=--warn-on-spills,--warning-as-error>)
    target_link_libraries(spade_cuda PRIVATE spade_base CUDA::cudart CUDA::cublas CUDA::cusolver ${CUDNN_LIBRARY})
    target_link_options(spade_cuda PRIVATE -Wl,--no-undefined)
    install(TARGETS spade_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/spade)
    set(SPADE_CUDA_SUMMARY "CUDA ${CUDAToolkit_VERSION}, architectures ${CMAKE_CUDA_ARCHITECTURES}")
  elseif(SPADE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "SPADE_CUDA=ON: nvcc or cuDNN was not found")
  else()
    set(SPADE_CUDA_SUMMARY "not built: nvcc or cuDNN was not found")
  endif()
endif()
message(STATUS "CUDA backend: ${SPADE_CUDA_SUMMARY}")
