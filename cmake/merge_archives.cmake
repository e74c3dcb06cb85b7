# Runs an ar script; a custom command has no way to give one its standard input.
execute_process(COMMAND ${AR} -M INPUT_FILE ${SCRIPT} COMMAND_ERROR_IS_FATAL ANY)
