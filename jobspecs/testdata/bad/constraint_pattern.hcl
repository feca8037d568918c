job "j" {
  task "a" {
    command = ["true"]
    constraint {
      attribute = "node.name"
      operator  = "regexp"
      value     = "web-[0-9"
    }
  }
}
