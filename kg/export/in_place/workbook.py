def write_workbook(*a): raise NotImplementedError
