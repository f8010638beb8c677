O gato dorme debaixo da mesa.
Eu bebo chá todas as manhãs.
Onde fica a estação de comboios mais próxima?
A minha irmã comprou ontem uma bicicleta vermelha porque quer ir de bicicleta para o trabalho.
