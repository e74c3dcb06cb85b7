# dsm_jemalloc: a jemalloc of our own, made from Debian's position-independent archive.
#
# 1. Every public symbol `f` becomes `dsm_je_f`, so that the program's own malloc, whichever it is, stays as it is.
# 2. Every other symbol becomes local, and the dsm_je_ ones hidden: nothing shows in a shared libdsm.
# 3. operator new and delete (jemalloc_cpp) are left out.
# 4. Its options come from dsm_je_malloc_conf alone (see jemalloc_private.c), not from the program's MALLOC_CONF.

set(DSM_JEMALLOC_PUBLIC
    aligned_alloc calloc dallocx free mallctl mallctlbymib mallctlnametomib malloc malloc_conf malloc_conf_2_conf_harder
    malloc_message malloc_stats_print malloc_usable_size mallocx memalign nallocx posix_memalign rallocx realloc sallocx
    sdallocx valloc xallocx)

find_library(DSM_JEMALLOC_ARCHIVE NAMES libjemalloc_pic.a DOC "position-independent static jemalloc")
find_path(DSM_JEMALLOC_INCLUDE NAMES jemalloc/jemalloc.h DOC "folder of jemalloc/jemalloc.h")
if(NOT DSM_JEMALLOC_ARCHIVE OR NOT DSM_JEMALLOC_INCLUDE)
  message(FATAL_ERROR "libjemalloc_pic.a or jemalloc/jemalloc.h is missing, and the global heap is made of them. "
                      "Install the package libjemalloc-dev (scripts/setup does it).")
endif()
# binutils by name: clang's tool set has programs of its own that read other options.
foreach(tool ar ld nm objcopy)
  find_program(DSM_BINUTILS_${tool} NAMES ${tool} DOC "${tool} of binutils")
  if(NOT DSM_BINUTILS_${tool})
    message(FATAL_ERROR "${tool} is missing, and the private jemalloc is made with it. "
                        "Install the package binutils (scripts/setup does it).")
  endif()
endforeach()

# Lists for the steps below: old and new names for objcopy, PUBLIC(f) for jemalloc_private.c.
function(dsm_write_jemalloc_names folder)
  set(renames "secure_getenv dsm_je_no_getenv\nreadlink dsm_je_no_readlink\n")
  set(public "")
  foreach(symbol ${DSM_JEMALLOC_PUBLIC})
    string(APPEND renames "${symbol} dsm_je_${symbol}\n")
    string(APPEND public "PUBLIC(${symbol})\n")
  endforeach()
  file(MAKE_DIRECTORY ${folder})
  file(CONFIGURE OUTPUT ${folder}/renames.txt CONTENT "${renames}" @ONLY)
  file(CONFIGURE OUTPUT ${folder}/public.inc CONTENT "${public}" @ONLY)
endfunction()

# The one object that is the library. jemalloc_private.c goes into it: its hidden references make the dsm_je_ symbols
# hidden there.
function(dsm_make_jemalloc folder)
  execute_process(COMMAND ${DSM_BINUTILS_ar} t ${DSM_JEMALLOC_ARCHIVE} OUTPUT_VARIABLE members
                  COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]*jemalloc_cpp[^\n]*" unwanted "${members}")
  set(drop_unwanted "")
  if(unwanted)
    set(drop_unwanted COMMAND ${DSM_BINUTILS_ar} d renamed.a ${unwanted})
  endif()
  add_custom_command(
    OUTPUT ${folder}/dsm_jemalloc.o
    COMMAND ${CMAKE_COMMAND} -E copy ${DSM_JEMALLOC_ARCHIVE} plain.a
    COMMAND ${DSM_BINUTILS_objcopy} --strip-debug --redefine-syms=renames.txt plain.a renamed.a
    ${drop_unwanted}
    COMMAND ${DSM_BINUTILS_ld} -r -o whole.o --whole-archive renamed.a --no-whole-archive
            $<TARGET_OBJECTS:dsm_jemalloc_private>
    COMMAND ${DSM_BINUTILS_objcopy} --wildcard --keep-global-symbol=dsm_je_* whole.o dsm_jemalloc.o
    DEPENDS ${DSM_JEMALLOC_ARCHIVE} ${folder}/renames.txt dsm_jemalloc_private $<TARGET_OBJECTS:dsm_jemalloc_private>
    WORKING_DIRECTORY ${folder}
    COMMENT "Making the private jemalloc"
    COMMAND_EXPAND_LISTS VERBATIM)
  add_library(dsm_jemalloc STATIC ${folder}/dsm_jemalloc.o)
  set_source_files_properties(${folder}/dsm_jemalloc.o PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
endfunction()

set(DSM_JEMALLOC_FOLDER ${CMAKE_BINARY_DIR}/jemalloc)
dsm_write_jemalloc_names(${DSM_JEMALLOC_FOLDER})

add_library(dsm_jemalloc_private OBJECT ${CMAKE_CURRENT_LIST_DIR}/jemalloc_private.c)
target_compile_options(dsm_jemalloc_private PRIVATE -Wall -Wextra -Werror -fno-sanitize=all)
target_include_directories(dsm_jemalloc_private PRIVATE ${DSM_JEMALLOC_FOLDER})
set_target_properties(dsm_jemalloc_private PROPERTIES POSITION_INDEPENDENT_CODE ON)

dsm_make_jemalloc(${DSM_JEMALLOC_FOLDER})
set_target_properties(dsm_jemalloc PROPERTIES LINKER_LANGUAGE C)
target_include_directories(dsm_jemalloc SYSTEM INTERFACE ${DSM_JEMALLOC_INCLUDE})
target_link_libraries(dsm_jemalloc INTERFACE Threads::Threads m ${CMAKE_DL_LIBS})
