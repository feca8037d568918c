job "j" {
  task "a" {
    command = ["true"]
    constraint {
      attribute = "node.kernal"
      value     = "6.1"
    }
  }
}
