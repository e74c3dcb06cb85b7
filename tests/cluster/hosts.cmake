dsm_test(hosts_test
  SOURCES hosts_frames_test.cpp hosts_meeting_test.cpp hosts_run.cpp hosts_test.cpp
  DEPENDS hosts cluster base
  LINK launcher_run
  PROGRAMS dsmrun launcher_node
  LABELS cluster)
