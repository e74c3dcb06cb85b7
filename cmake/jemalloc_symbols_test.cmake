# The private jemalloc defines no symbol that another object could see or clash with, except dsm_je_*.
execute_process(COMMAND ${NM} --extern-only --defined-only --format=posix ${ARCHIVE} OUTPUT_VARIABLE symbols
                COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^\n]+" lines "${symbols}")
set(ours 0)
foreach(line ${lines})
  if(line MATCHES "^dsm_je_[a-z0-9_]+ [A-Za-z]")
    math(EXPR ours "${ours} + 1")
  elseif(NOT line MATCHES "\\]:$")  # the line that names an archive's member
    message(SEND_ERROR "defined besides dsm_je_*: ${line}")
  endif()
endforeach()
if(ours LESS 23)
  message(SEND_ERROR "only ${ours} dsm_je_ symbols are defined; jemalloc has 23 public ones")
endif()
