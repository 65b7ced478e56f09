# The libraries that spade stands on, gathered in one interface target: spade_dependencies.
# All are Debian 12 packages; scripts/setup.sh has their names.

find_package(OpenMP REQUIRED COMPONENTS C)
find_package(PkgConfig REQUIRED)
find_package(ZLIB REQUIRED)

# oneDNN's own CMake configuration insists on OpenCL headers, which its package only recommends and which spade does not use.
find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl.h)
find_library(DNNL_LIBRARY dnnl)
if(NOT DNNL_INCLUDE_DIR OR NOT DNNL_LIBRARY)
  message(FATAL_ERROR "oneDNN was not found: install libdnnl-dev")
endif()

# One thread pool for oneDNN and OpenBLAS: the OpenMP build of OpenBLAS, also where another one is the system's choice.
set(openblas_openmp /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/openblas-openmp/pkgconfig)
if(EXISTS ${openblas_openmp})
  set(ENV{PKG_CONFIG_PATH} "${openblas_openmp}:$ENV{PKG_CONFIG_PATH}")
else()
  message(WARNING "The OpenMP build of OpenBLAS was not found (Debian: libopenblas-openmp-dev); "
    "another one would compete with oneDNN for the processor")
endif()
pkg_check_modules(OPENBLAS REQUIRED IMPORTED_TARGET openblas)
pkg_check_modules(LAPACKE REQUIRED IMPORTED_TARGET lapacke)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1)
pkg_check_modules(NETTLE REQUIRED IMPORTED_TARGET nettle)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(ARCHIVE REQUIRED IMPORTED_TARGET libarchive)
# Only the decoder of pictures, a program of its own, is linked with these.
pkg_check_modules(JPEG REQUIRED IMPORTED_TARGET libjpeg)
pkg_check_modules(PNG REQUIRED IMPORTED_TARGET libpng16)
pkg_check_modules(WEBP REQUIRED IMPORTED_TARGET libwebp)

# Headers only.
find_path(STB_INCLUDE_DIR stb_image.h PATH_SUFFIXES stb)
find_path(RANDOM123_INCLUDE_DIR Random123/philox.h)
find_path(XXHASH_INCLUDE_DIR xxhash.h)
if(NOT STB_INCLUDE_DIR OR NOT RANDOM123_INCLUDE_DIR OR NOT XXHASH_INCLUDE_DIR)
  message(FATAL_ERROR "stb, Random123 or xxHash was not found: install libstb-dev, librandom123-dev and libxxhash-dev")
endif()

add_library(spade_dependencies INTERFACE)
target_include_directories(spade_dependencies SYSTEM INTERFACE ${DNNL_INCLUDE_DIR} ${RANDOM123_INCLUDE_DIR}
  ${XXHASH_INCLUDE_DIR})
# OpenBLAS before LAPACKE: it holds LAPACK as well, and so LAPACKE's calls end there whatever liblapack.so.3 is on the system.
target_link_libraries(spade_dependencies INTERFACE OpenMP::OpenMP_C ${DNNL_LIBRARY} PkgConfig::OPENBLAS PkgConfig::LAPACKE
  PkgConfig::JANSSON PkgConfig::YAML PkgConfig::SQLITE PkgConfig::ARCHIVE
  PkgConfig::NETTLE ZLIB::ZLIB m ${CMAKE_DL_LIBS})
