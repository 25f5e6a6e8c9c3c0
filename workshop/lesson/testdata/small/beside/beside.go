package beside

const Word = "beside"
