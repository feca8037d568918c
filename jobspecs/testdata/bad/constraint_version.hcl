job "j" {
  task "a" {
    command = ["true"]
    constraint {
      attribute = "node.kernel"
      operator  = "version"
      value     = ">= 6.1 and < 7"
    }
  }
}
