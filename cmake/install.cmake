# `cmake --install build --prefix P` puts there
#   include/dsm/              the public headers
#   lib/libdsm.a, libdsm.so   all layers and the private jemalloc in one library each
#   lib/cmake/dsm/            find_package(dsm): dsm::dsm (the archive) and dsm::shared
#   lib/pkgconfig/dsm.pc
#   bin/                      dsmrun, dsmstat, dsm-advise, dsm-memory-node
# The placed layer stands on all others, so what it depends on is what the libraries hold.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# The layers below `target`, itself included, and the libraries that they link.
function(dsm_closure target out_layers out_libraries)
  set(layers "")
  set(libraries "")
  set(waiting ${target})
  while(waiting)
    list(POP_FRONT waiting layer)
    if(layer IN_LIST layers)
      continue()
    endif()
    list(APPEND layers ${layer})
    get_property(below GLOBAL PROPERTY DSM_DEPENDS_${layer})
    get_property(linked GLOBAL PROPERTY DSM_LINK_${layer})
    list(APPEND waiting ${below})
    foreach(item ${linked})
      if(item MATCHES "^dsm_")
        list(APPEND waiting ${item})
      else()
        list(APPEND libraries ${item})
      endif()
    endforeach()
  endwhile()
  list(REMOVE_DUPLICATES libraries)
  set(${out_layers} ${layers} PARENT_SCOPE)
  set(${out_libraries} ${libraries} PARENT_SCOPE)
endfunction()

# What a program that links the archive must link besides. Libraries of headers only need not be there any more.
function(dsm_link_names libraries out)
  set(names m ${CMAKE_DL_LIBS} stdc++)
  foreach(library ${libraries})
    if(NOT library MATCHES "::")
      list(APPEND names ${library})
    elseif(NOT library MATCHES "^(Threads::Threads|tl::expected|CLI11::CLI11|nlohmann_json::.*)$")
      message(FATAL_ERROR "cmake/install.cmake does not know how programs that use the installed libdsm.a link "
                          "${library}; say it in dsm_link_names")
    endif()
  endforeach()
  list(REMOVE_DUPLICATES names)
  set(${out} ${names} PARENT_SCOPE)
endfunction()

function(dsm_add_archive layers)
  set(script "CREATE libdsm.a\n")
  set(files "")
  foreach(layer ${layers})
    string(APPEND script "ADDLIB $<TARGET_FILE:${layer}>\n")
    list(APPEND files $<TARGET_FILE:${layer}>)
  endforeach()
  string(APPEND script "SAVE\nEND\n")
  set(folder ${CMAKE_BINARY_DIR}/lib)
  file(MAKE_DIRECTORY ${folder})
  file(GENERATE OUTPUT ${folder}/libdsm.mri CONTENT "${script}")
  add_custom_command(OUTPUT ${folder}/libdsm.a
                     COMMAND ${CMAKE_COMMAND} -D AR=${DSM_BINUTILS_ar} -D SCRIPT=${folder}/libdsm.mri
                             -P ${PROJECT_SOURCE_DIR}/cmake/merge_archives.cmake
                     DEPENDS ${layers} ${files} ${folder}/libdsm.mri
                     WORKING_DIRECTORY ${folder} VERBATIM)
  add_custom_target(dsm_archive ALL DEPENDS ${folder}/libdsm.a)
  install(FILES ${folder}/libdsm.a DESTINATION ${CMAKE_INSTALL_LIBDIR})
endfunction()

function(dsm_add_shared layers)
  set(code ${layers})
  list(REMOVE_ITEM code dsm_jemalloc)
  list(TRANSFORM code REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>")
  add_library(dsm_shared SHARED ${code})
  target_link_libraries(dsm_shared PRIVATE ${layers})
  # -z nodelete: its threads and signal handlers outlive a dlclose. -z defs: nothing is left for the program to supply.
  # -z now: no symbol is looked up in a fault.
  set_target_properties(dsm_shared PROPERTIES OUTPUT_NAME dsm VERSION ${PROJECT_VERSION}
                                              SOVERSION ${PROJECT_VERSION_MAJOR} LINKER_LANGUAGE CXX
                                              LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
  target_link_options(dsm_shared PRIVATE LINKER:-z,nodelete LINKER:-z,defs LINKER:-z,now)
  install(TARGETS dsm_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endfunction()

function(dsm_add_package_files link_names)
  set(DSM_LINK_NAMES ${link_names})
  list(TRANSFORM link_names PREPEND "-l")
  list(JOIN link_names " " DSM_LINK_FLAGS)
  file(RELATIVE_PATH DSM_PREFIX_FROM_PC /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p)
  string(REGEX REPLACE "/$" "" DSM_PREFIX_FROM_PC "${DSM_PREFIX_FROM_PC}")
  set(folder ${CMAKE_INSTALL_LIBDIR}/cmake/dsm)
  configure_package_config_file(cmake/dsmConfig.cmake.in ${CMAKE_BINARY_DIR}/dsmConfig.cmake
                                INSTALL_DESTINATION ${folder} PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
  write_basic_package_version_file(${CMAKE_BINARY_DIR}/dsmConfigVersion.cmake COMPATIBILITY SameMinorVersion)
  configure_file(cmake/dsm.pc.in ${CMAKE_BINARY_DIR}/dsm.pc @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/dsmConfig.cmake ${CMAKE_BINARY_DIR}/dsmConfigVersion.cmake DESTINATION ${folder})
  install(FILES ${CMAKE_BINARY_DIR}/dsm.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()

# A program that is built without sanitizers cannot use a library that has them.
if(TARGET dsm_placed AND NOT DSM_SANITIZE)
  dsm_closure(dsm_placed layers libraries)
  dsm_link_names("${libraries}" link_names)
  dsm_add_archive("${layers}")
  dsm_add_shared("${layers}")
  dsm_add_package_files("${link_names}")
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/libdsm/include/dsm DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
          FILES_MATCHING PATTERN "*.h")
  add_test(NAME install COMMAND ${PROJECT_SOURCE_DIR}/scripts/test-install ${CMAKE_BINARY_DIR})
  set_tests_properties(install PROPERTIES LABELS install TIMEOUT 300)
endif()
foreach(program dsmrun dsmstat dsm-advise dsm-memory-node)
  if(TARGET ${program})
    install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endforeach()
