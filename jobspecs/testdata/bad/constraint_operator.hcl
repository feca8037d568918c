job "j" {
  task "a" {
    command = ["true"]
    constraint {
      attribute = "node.models"
      operator  = "set_contain"
      value     = ["llama"]
    }
  }
}
