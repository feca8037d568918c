job "j" {
  task "a" {
    command = ["true"]
    constraint {
      attribute = "run.task"
      operator  = "!="
      value     = "b"
    }
  }
}
